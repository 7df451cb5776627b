"""``quantkeep predictions calibration``: predicted against actual."""

from datetime import date
from typing import TYPE_CHECKING, Any, Final

import click

from quantkeep.cli.commands.predictions._options import Day
from quantkeep.cli.listing import Listing, integer, real, text
from quantkeep.cli.options import Output, examples, output_options, url_argument

if TYPE_CHECKING:
    from quantkeep.columns import Row
    from quantkeep.predictions import Calibration

GROUPS: Final = ("user", "agent", "layer", "regime", "month")
FIGURES: Final = ("expected", "actual", "error", "absolute_error", "accuracy")


@click.command(
    short_help="Hold what was expected against what came.",
    epilog=examples(
        "predictions calibration sqlite:///mara.db --by month",
        "predictions calibration sqlite:///mara.db --user marv --by agent --by regime",
    ),
)
@url_argument
@click.option("--by", type=click.Choice(GROUPS), multiple=True, help="Group so; may be repeated.")
@click.option("--user", "-u", "user_id", help="Only this user.")
@click.option("--since", type=Day(), help="Predictions from this day on.")
@click.option("--until", type=Day(), help="Predictions up to this day, it included.")
@output_options
def calibration(
    url: str | None, out: Output, *, by: tuple[Any, ...], since: date | None, **asked: Any
) -> None:
    """Hold what was expected against what came, on the mean of each group.

    By agent or layer it is about the agents' evaluations, otherwise about results. Returns are
    signed fractions; a positive error means that more came than was expected.
    """
    import quantkeep

    with quantkeep.open(url, create=False, migrate=False, read_only=True) as keep:
        found = keep.predictions.calibration(by=by, since=since, **asked)
    columns = (*map(text, by), integer("count"), *map(real, FIGURES))
    out.show(Listing(title="Calibration", columns=columns, rows=map(_row, found)))


def _row(group: "Calibration") -> "Row":
    figures = (getattr(group, name) for name in FIGURES)
    return (*group.group, group.count, *(None if f is None else float(f) for f in figures))
