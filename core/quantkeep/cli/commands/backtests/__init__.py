"""``quantkeep backtests``: list results, look into them, export, check, retire them."""

from typing import Final

import click

from quantkeep.cli.commands.backtests.checking import verify
from quantkeep.cli.commands.backtests.exporting import export
from quantkeep.cli.commands.backtests.listing import list_results
from quantkeep.cli.commands.backtests.retiring import cleanup, gc
from quantkeep.cli.commands.backtests.showing import show

backtests: Final = click.Group(
    "backtests",
    short_help="List, show, export, check and retire results.",
    help="List backtest results, look into them, export, check and retire them.",
    commands=[list_results, show, export, verify, cleanup, gc],
)
