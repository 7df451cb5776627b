"""What the demo shows of the keep at the end: positions, trades, slippage, equity, the proof."""

from collections.abc import Iterable, Sequence
from typing import Final

from quantkeep import Keep, Measure, Tally, where
from quantkeep.cli.listing import Listing, integer, real, text
from quantkeep.columns import Column, Scalar
from quantkeep.tape import EquityPoint, Trade
from quantkeep_plugins.demo.book import Book
from quantkeep_plugins.demo.plot import svg_plot, terminal_plot
from quantkeep_plugins.demo.prices import Day
from quantkeep_plugins.demo.proof import Check

_TAIL: Final = 8  # trades
_TRADE: Final = (
    "timestamp", "symbol", "action", "qty", "fill_price", "slippage_bps", "fee", "realized_pnl",
)  # fmt: skip


def positions(book: Book, day: Day) -> Listing:
    """What is held at the end of *day*."""
    columns = (text("symbol"), integer("qty"), *map(real, ("entry_price", "price", "profit")))
    rows = []
    for symbol, held in sorted(book.positions.items()):
        price = day.bars[symbol].close
        profit = held.worth(price - held.entry_price)
        rows.append((symbol, held.qty, float(held.entry_price), float(price), float(profit)))
    money = (f"{name} {getattr(book, name):,.2f}" for name in ("cash", "realized", "fees"))
    return Listing(
        title="Positions, from the session", columns=columns, rows=rows, caption=", ".join(money)
    )


def tail(trades: Sequence[Trade]) -> Listing:
    """The newest trades."""
    columns = tuple(Trade.collection.column(name) for name in _TRADE)
    rows = [tuple(_shown(trade, column) for column in columns) for trade in trades[-_TAIL:]]
    title = f"The tape's tail, {len(rows)} of {len(trades)} trades"
    return Listing(title=title, columns=columns, rows=rows)


def _shown(trade: Trade, column: Column) -> Scalar:
    scalar = column.canonical(getattr(trade, column.name))
    return round(scalar, 4) if isinstance(scalar, float) else scalar


def slippage(keep: Keep, account: str) -> Listing:
    """What the simulated fills cost, by side; computed where the trades are."""
    measures = (
        Measure("count"),
        Measure("mean", "slippage_bps"),
        Measure("mean_abs", "slippage_bps"),
        Measure("max", "slippage_bps"),
        Measure("min", "slippage_bps"),
        Measure("mean", "slippage_est_bps"),
    )
    asked = Tally(by=("action",), measures=measures, where=where(account=account))
    columns = (
        text("action"),
        integer("fills"),
        *map(real, ("mean", "mean_abs", "max", "min", "expected")),
    )
    rows = [
        (*row[:2], *(round(bps, 2) for bps in row[2:]))
        for row in keep.tape.table(Trade).tally(asked)
    ]
    return Listing(
        title="Slippage, in basis points of the target price", columns=columns, rows=rows
    )


def curve(points: Sequence[EquityPoint], kills: Sequence[int]) -> str:
    """The equity curve for the terminal."""
    marked = "; ▲ killed" if kills else ""
    values = [point.total_equity for point in points]
    return "\n".join((f"Equity, in US dollars{marked}", *terminal_plot(values, kills)))


def drawing(points: Sequence[EquityPoint], kills: Sequence[int], title: str) -> str:
    """The equity curve as SVG."""
    ends = (f"{points[0].timestamp:%Y-%m-%d}", f"{points[-1].timestamp:%Y-%m-%d}")
    return svg_plot([point.total_equity for point in points], kills, title, ends)


def proof(checks: Iterable[Check]) -> Listing:
    """What was compared with the independent run, and whether it is equal."""
    columns = (
        text("compared"),
        integer("expected"),
        integer("stored"),
        text("verdict"),
        text("difference"),
    )
    rows = [
        (c.what, c.expected, c.found, "equal" if c.holds else "DIFFERENT", c.difference)
        for c in checks
    ]
    return Listing(
        title="Proof against an uninterrupted run",
        columns=columns,
        rows=rows,
        shown=tuple(column.name for column in columns),
    )
