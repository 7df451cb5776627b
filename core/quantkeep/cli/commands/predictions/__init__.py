"""``quantkeep predictions``: list them, look back on them, see how good they were (MARA-38)."""

from typing import Final

import click

from quantkeep.cli.commands.predictions.calibrating import calibration
from quantkeep.cli.commands.predictions.listing import list_predictions, pending
from quantkeep.cli.commands.predictions.retrospecting import retrospect

predictions: Final = click.Group(
    "predictions",
    short_help="List predictions, look back, see how good they were.",
    help="List predictions, look back on those that are due, see how good they were.",
    commands=[list_predictions, pending, retrospect, calibration],
)
