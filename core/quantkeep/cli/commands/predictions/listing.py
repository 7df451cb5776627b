"""``quantkeep predictions list`` and ``pending``: all there are, and those without a result."""

from datetime import UTC, date, datetime
from typing import Final

import attrs
import click

from quantkeep.cli.commands.predictions._options import Day
from quantkeep.cli.options import Output, examples, limit_option, output_options, url_argument
from quantkeep.cli.stored import stored_keep
from quantkeep.cli.view import View
from quantkeep.query import Condition, Exists, Where, where

VIEW: Final = View(
    "predictions",
    "predictions",
    "prediction_date",
    (
        "prediction_id", "user_id", "flow", "prediction_date", "market_regime",
        "recommended_strategy", "expected_return", "expected_volatility", "expected_max_dd",
    ),
)  # fmt: skip


@click.command(
    "list",
    epilog=examples(
        "predictions list sqlite:///mara.db --user marv",
        "predictions list sqlite:///mara.db --since 2025-01-01 --limit 0 --output all.csv",
    ),
)
@url_argument
@click.option("--user", "-u", help="Only this user.")
@click.option("--flow", help="Only this flow.")
@click.option("--since", type=Day(), help="From this day on.")
@click.option("--until", type=Day(), help="Up to this day, it included.")
@limit_option()
@output_options
def list_predictions(
    url: str | None,
    out: Output,
    *,
    user: str | None,
    flow: str | None,
    since: date | None,
    until: date | None,
    limit: int,
) -> None:
    """List predictions, newest last."""
    days = (Where("prediction_date", ">=", since), Where("prediction_date", "<=", until))
    asked = (*where(user_id=user, flow=flow), *(day for day in days if day.value))
    with stored_keep(url) as keep:
        part, collection = keep.find("predictions", "predictions")
        out.show(VIEW.records(part, collection, asked, limit))


@click.command(
    epilog=examples(
        "predictions pending sqlite:///mara.db --older-than 30",
        "predictions pending sqlite:///mara.db --user marv --format json",
    )
)
@url_argument
@click.option("--user", "-u", help="Only this user.")
@click.option(
    "--older-than", type=click.IntRange(min=0), metavar="DAYS", help="At least so many days old."
)
@click.option("--as-of", type=Day(), help="The day to count back from; today in UTC if left out.")
@output_options
def pending(
    url: str | None, out: Output, user: str | None, older_than: int | None, as_of: date | None
) -> None:
    """List predictions without any result, oldest first."""
    with stored_keep(url) as keep:
        part, collection = keep.find("predictions", "predictions")
        _, results = keep.find("predictions", "performance_results")
        judged = Exists(results, (("prediction_id", "prediction_id"),), negate=True)
        aged = _aged(older_than, as_of)
        asked: tuple[Condition, ...] = (*where(user_id=user), judged, *aged)
        listing = VIEW.records(part, collection, asked, limit=0)
        out.show(attrs.evolve(listing, title=f"Pending predictions of {part.url}"))


def _aged(older_than: int | None, as_of: date | None) -> tuple[Where, ...]:
    if older_than is None and as_of is None:
        return ()
    day = as_of or datetime.now(UTC).date()
    newest = date.fromordinal(max(day.toordinal() - (older_than or 0), 1))
    return (Where("prediction_date", "<=", newest),)
