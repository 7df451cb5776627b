"""``quantkeep failures``: what goes wrong most often, and each time that it did."""

from datetime import datetime
from typing import Any, Final

import attrs
import click

from quantkeep.cli.commands.knowledge._opening import knowledge_at, top_option
from quantkeep.cli.listing import Listing, integer, text, timestamp
from quantkeep.cli.options import Moment, Output, examples, output_options, url_argument
from quantkeep.cli.stored import stored_keep
from quantkeep.cli.view import View
from quantkeep.columns import microseconds
from quantkeep.query import Condition, Exists, Where, where

STATES: Final = ("OPEN", "CONFIRMED", "RESOLVED", "DEPRECATED")
VIEW: Final = View(
    "knowledge",
    "failures",
    "created_at",
    ("failure_id", "category", "severity", "state", "summary", "tags", "strategy_id", "created_at"),
)


@click.command(
    short_help="Show what fails most often, and each failure.",
    epilog=examples(
        "failures sqlite:///research.db --top 5",
        "failures sqlite:///research.db --by category --state OPEN --since 30d",
        "failures sqlite:///research.db --list --tag drawdown",
    ),
)
@url_argument
@top_option
@click.option("--by", type=click.Choice(("tag", "category")), default="tag", show_default=True)
@click.option("--list", "each", is_flag=True, help="The newest failures themselves, not counts.")
@click.option("--tag", help="With --list, only those with this tag.")
@click.option("--category", help="Only failures of this category.")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only these.")
@click.option("--since", type=Moment(), help="Only those noted from this moment on.")
@output_options
def failures(
    url: str | None, out: Output, *, top: int, by: Any, each: bool, tag: str | None, **asked: Any
) -> None:
    """Show what fails most often, by tag or by category; or the failures themselves."""
    if tag is not None and not each:
        raise click.UsageError("--tag goes with --list")
    out.show(_listed(url, top, tag, **asked) if each else _counted(url, top, by, **asked))


def _counted(
    url: str | None,
    top: int,
    by: Any,
    *,
    category: str | None,
    states: tuple[str, ...],
    since: datetime | None,
) -> Listing:
    with knowledge_at(url) as knowledge:
        found = knowledge.repeat_failures(
            top, by=by, category=category, states=states or None, since=since
        )
    rows = [(f.label, f.count, microseconds(f.first_at), microseconds(f.last_at)) for f in found]
    columns = (text(by), integer("failures"), timestamp("first_at"), timestamp("last_at"))
    return Listing(title="Repeat failures", columns=columns, rows=rows)


def _listed(
    url: str | None,
    top: int,
    tag: str | None,
    *,
    category: str | None,
    states: tuple[str, ...],
    since: datetime | None,
) -> Listing:
    with stored_keep(url) as keep:
        part, collection = keep.find("knowledge", "failures")
        _, tags = keep.find("knowledge", "failure_tags")
        asked: list[Condition] = [*where(category=category)]
        asked += [Where("state", "in", states)] if states else []
        asked += [Where("created_at", ">=", since)] if since else []
        tagged = Exists(tags, (("failure_id", "failure_id"),), where(tag=tag))
        asked += [tagged] if tag is not None else []
        listing = VIEW.records(part, collection, tuple(asked), top)
        return attrs.evolve(listing, rows=[*listing.rows], caption=f"the newest, {top} at most")
