"""``quantkeep backtests list``: which results there are."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import click

from quantkeep.cli.listing import Listing
from quantkeep.cli.options import (
    Moment,
    Output,
    examples,
    limit_option,
    output_options,
    url_argument,
)
from quantkeep.cli.stored import stored_keep
from quantkeep.collection import Collection
from quantkeep.columns import Row
from quantkeep.query import ENVELOPE_COLUMNS, Query, Where, where

LISTED: Final = (
    "task_id", "strategy", "symbols", "start_date", "end_date", "timeframe", "status",
    "record_count", "created_at",
)  # fmt: skip


@click.command(
    "list",
    epilog=examples(
        "backtests list sqlite:///research.db --strategy SmaCross --since 7d",
        "backtests list sqlite:///research.db --symbol BTC/USDT --format json",
    ),
)
@url_argument
@click.option("--strategy", help="Only this strategy.")
@click.option("--status", help="Only in this status: completed, failed, running, cancelled.")
@click.option("--symbol", "-s", help="Only those that traded it.")
@click.option("--since", type=Moment(), help="Made from this moment on: 2025-01-17, 7d ago.")
@limit_option()
@output_options
def list_results(
    url: str | None,
    out: Output,
    *,
    symbol: str | None,
    since: datetime | None,
    limit: int,
    **equal: str | None,
) -> None:
    """List results, newest first."""
    asked = [*where(**equal)]
    asked += [Where("symbols", "contains", symbol)] if symbol else []
    asked += [Where("created_at", ">=", since)] if since else []
    query = Query(where=tuple(asked), order=("-created_at", "-revision"), limit=limit or None)
    with stored_keep(url) as keep:
        part, collection = keep.find("backtests", "backtest_results")
        out.show(
            Listing(
                title=f"Backtest results of {part.url}",
                columns=(*collection.columns, *ENVELOPE_COLUMNS.values()),
                rows=_rows(part.backend.scan(collection, query), collection),
                shown=LISTED,
                caption=f"the newest, {limit} at most; --limit 0 shows all" if limit else None,
            )
        )


def _rows(stored: Any, collection: Collection) -> Iterator[Row]:
    for each in stored:
        collection.verify(each)
        yield (*each.values, each.revision, each.created_at, each.updated_at)
