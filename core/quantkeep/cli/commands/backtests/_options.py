"""Options that the commands on backtest results share."""

from typing import Final

import click

TASK: Final = click.option("--task", "-t", required=True, metavar="ID", help="Of the result.")
TASKS: Final = click.option(
    "--task", "-t", "tasks", multiple=True, metavar="ID", help="Only this result; may be repeated."
)
