"""``quantkeep strategies`` and ``promotions``: what did best, and what moved up."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from quantkeep import documents
from quantkeep.cli.commands.knowledge._opening import document, knowledge_at, top_option
from quantkeep.cli.listing import Listing, integer, real, text, timestamp
from quantkeep.cli.options import Output, examples, output_options, url_argument
from quantkeep.cli.stored import stored_keep
from quantkeep.cli.view import View
from quantkeep.columns import Row, microseconds
from quantkeep.hosts import Hosts
from quantkeep.query import where

if TYPE_CHECKING:
    from quantkeep.knowledge import KnowledgeStore

DECISIONS: Final = ("PROMOTE", "HOLD", "REJECT")
VIEW: Final = View(
    "knowledge",
    "promotion_records",
    "timestamp",
    (
        "timestamp", "decision", "from_tier", "to_tier", "strategy_id", "template_id",
        "score_total", "gates", "approved_by", "approved_at", "promotion_id",
    ),
)  # fmt: skip


@click.command(
    short_help="Show the top strategies by any metric.",
    epilog=examples(
        "strategies sqlite:///research.db --top 5",
        "strategies sqlite:///research.db --by max_drawdown_net --passed",
        "strategies sqlite:///research.db --by 'Sharpe Ratio' --format json",
    ),
)
@url_argument
@top_option
@click.option("--by", default="score_total", show_default=True, help="Any metric that is stored.")
@click.option(
    "--best", type=click.Choice(("greatest", "least")),
    help="Which end is best; the least for drawdown and volatility, else the greatest.",
)  # fmt: skip
@click.option("--passed", is_flag=True, help="Only backtests whose score passed.")
@output_options
def strategies(
    url: str | None,
    out: Output,
    *,
    top: int,
    by: str,
    best: Any,
    passed: bool,
) -> None:
    """Show the top strategies by a metric, each by its best backtest.

    A metric is score_total, a field of the metrics (sharpe_net, max_drawdown_net, cagr ...), or any
    number that a backtest's own statistics name. One that is not stored is answered by those that
    are.
    """
    with knowledge_at(url) as knowledge:
        rows = [*_ranked(knowledge, top, by, best, passed or None)]
    columns = (
        integer("rank"),
        text("strategy_id"),
        real("value"),
        text("backtest_id"),
        text("created_from"),
        document("spec"),
    )
    out.show(Listing(title=f"Top strategies by {by}", columns=columns, rows=rows))


def _ranked(
    knowledge: "KnowledgeStore", top: int, by: str, best: Any, passed: bool | None
) -> Iterator[Row]:
    found = knowledge.top_strategies(top, by=by, best=best, passed=passed)
    for rank, each in enumerate(found, start=1):
        strategy = knowledge.strategy(each.strategy_id)
        yield (
            rank,
            each.strategy_id,
            float(each.value),
            each.backtest_id,
            strategy.created_from,
            documents.encode(strategy.normalized_spec, Hosts()),
        )


# -- promotions ------------------------------------------------------------------------------------


@click.command(
    short_help="Show which strategies moved up, or did not.",
    epilog=examples(
        "promotions sqlite:///research.db --to-tier PAPER",
        "promotions sqlite:///research.db --by-template --top 5",
    ),
)
@url_argument
@click.option("--decision", type=click.Choice(DECISIONS), help="Only these decisions.")
@click.option("--to-tier", help="Only decisions about moving to this tier.")
@click.option("--strategy", "strategy_id", help="Only decisions about this strategy.")
@click.option("--by-template", is_flag=True, help="Count promotions of each template instead.")
@top_option
@output_options
def promotions(
    url: str | None, out: Output, *, by_template: bool, top: int, **equal: str | None
) -> None:
    """Show the latest decisions to promote strategies, or the templates promoted most often."""
    if by_template:
        out.show(_templates(url, top, **equal))
        return
    with stored_keep(url) as keep:
        part, collection = keep.find("knowledge", "promotion_records")
        listing = VIEW.records(part, collection, where(**equal), top)
        out.show(attrs.evolve(listing, caption=f"the newest, {top} at most"))


def _templates(url: str | None, top: int, *, to_tier: str | None, **other: str | None) -> Listing:
    if any(other.values()):
        raise click.UsageError("--by-template goes with --to-tier, not --decision or --strategy")
    with knowledge_at(url) as knowledge:
        found = knowledge.promoted_templates(top, to_tier=to_tier)
    return Listing(
        title="Promoted templates",
        columns=(text("template_id"), text("to_tier"), integer("promotions"), timestamp("last_at")),
        rows=[(t.template_id, t.to_tier, t.count, microseconds(t.last_at)) for t in found],
    )
