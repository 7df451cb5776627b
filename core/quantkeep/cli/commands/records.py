"""``quantkeep sessions``, ``trades``, ``equity``, ``slippage``: the newest records, in order."""

from collections.abc import Callable
from typing import Any, Final

import click

from quantkeep.cli.options import (
    Moment,
    Output,
    examples,
    limit_option,
    output_options,
    url_argument,
)
from quantkeep.cli.stored import stored_keep
from quantkeep.cli.view import View
from quantkeep.query import Measure

MODES: Final = ("paper", "live", "backtest", "test")
STATUSES: Final = ("running", "stopped", "crashed", "finished")

_OPTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "mode": click.option("--mode", "-m", type=click.Choice(MODES), help="Only this mode."),
    "account": click.option("--account", "-a", help="Only this account."),
    "symbol": click.option("--symbol", "-s", help="Only this symbol."),
    "status": click.option("--status", type=click.Choice(STATUSES), help="Only this status."),
    "name": click.option("--name", "-n", help="Only sessions of this name."),
    "since": click.option(
        "--since", type=Moment(), help="From this moment on: 2025-01-17, 2025-01-17T09:30Z, 7d ago."
    ),
    "until": click.option("--until", type=Moment(), help="Up to, not including, this moment."),
    "limit": limit_option(),
    "stats": click.option("--stats", is_flag=True, help="Figures of each symbol instead."),
}  # fmt: skip


def _command(name: str, view: View, *options: str, **texts: Any) -> click.Command:
    """The command *name*, that lists *view*; *texts* are its help and epilog."""

    def listed(
        url: str | None, out: Output, *, limit: int, stats: bool = False, **chosen: Any
    ) -> None:
        asked = view.conditions(**chosen)
        with stored_keep(url) as keep:
            part, collection = keep.find(view.store, view.collection)
            if stats:
                out.show(view.statistics(part, collection, asked))
            else:
                out.show(view.records(part, collection, asked, limit))

    callback: Any = output_options(listed)
    for option in reversed((*options, "since", "until", "limit")):
        callback = _OPTIONS[option](callback)
    made: Callable[[Any], click.Command] = click.command(name, **texts)
    return made(url_argument(callback))


trades = _command(
    "trades",
    View(
        "tape", "trades", "timestamp",
        (
            "revision", "timestamp", "account", "mode", "symbol", "side", "action", "qty",
            "fill_price", "slippage_bps", "fee", "realized_pnl",
        ),
        {
            "fees": Measure("sum", "fee"),
            "realized_pnl": Measure("sum", "realized_pnl"),
            "avg_slippage_bps": Measure("mean", "slippage_bps"),
            "avg_abs_slippage_bps": Measure("mean_abs", "slippage_bps"),
        },
    ),
    "mode", "account", "symbol", "stats",
    help="""List trades, newest last.

    A table shows the usual columns, and those that your own record classes added; the other formats
    have them all. Times are UTC.
    """,
    epilog=examples(
        "trades sqlite:///bot.db --mode live --symbol BTC/USDT --since 24h",
        "trades sqlite:///bot.db --columns timestamp,symbol,side,fill_price",
        "trades sqlite:///bot.db --limit 0 --output trades.parquet",
    ),
)  # fmt: skip

equity = _command(
    "equity",
    View(
        "tape", "equity_history", "timestamp",
        (
            "revision", "timestamp", "account", "mode", "total_equity", "wallet_balance",
            "unrealized_pnl", "position_count", "total_notional",
        ),
    ),
    "mode", "account",
    help="List the points of the equity curve, newest last.",
    epilog=examples(
        "equity sqlite:///bot.db --mode paper --since 7d",
        "equity sqlite:///bot.db --limit 0 --output equity.csv",
    ),
)  # fmt: skip

slippage = _command(
    "slippage",
    View(
        "tape", "slippage_analysis", "timestamp",
        (
            "revision", "timestamp", "account", "mode", "symbol", "side", "target_price",
            "fill_price", "slippage_bps", "estimated_slippage_bps", "estimation_error_bps",
        ),
        {
            "avg_bps": Measure("mean", "slippage_bps"),
            "avg_abs_bps": Measure("mean_abs", "slippage_bps"),
            "max_bps": Measure("max", "slippage_bps"),
            "min_bps": Measure("min", "slippage_bps"),
            "avg_est_error_bps": Measure("mean", "estimation_error_bps"),
        },
    ),
    "mode", "account", "symbol", "stats",
    help="""List the slippage of fills in basis points, newest last.

    It is measured on live fills. What paper fills assume is in `quantkeep trades --mode paper`.
    """,
    epilog=examples(
        "slippage sqlite:///bot.db --symbol BTC/USDT --since 7d",
        "slippage sqlite:///bot.db --since 7d --stats",
    ),
)  # fmt: skip

sessions = _command(
    "sessions",
    View(
        "sessions", "sessions", "start_time",
        ("session_id", "name", "mode", "account", "status", "start_time", "end_time", "loop_count"),
    ),
    "name", "mode", "account", "status",
    help="""List sessions, newest last.

    One that says it is running may have crashed: a program finds out, and says so here, when it
    calls keep.sessions.crashed() or resumes it.
    """,
    epilog=examples(
        "sessions sqlite:///bot.db",
        "sessions sqlite:///bot.db --status crashed --format json",
    ),
)  # fmt: skip
