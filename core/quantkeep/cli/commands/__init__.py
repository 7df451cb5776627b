"""The commands of core. A new one is a module here, and a line below."""

from typing import Final

import click

from quantkeep.cli.commands.backends import backends
from quantkeep.cli.commands.backtests import backtests
from quantkeep.cli.commands.doctor import doctor
from quantkeep.cli.commands.imports import imports
from quantkeep.cli.commands.knowledge import (
    effectiveness,
    failures,
    lineage,
    promotions,
    strategies,
)
from quantkeep.cli.commands.maintenance import compact, gc
from quantkeep.cli.commands.merge import merge
from quantkeep.cli.commands.predictions import predictions
from quantkeep.cli.commands.records import equity, sessions, slippage, trades
from quantkeep.cli.commands.stats import stats
from quantkeep.cli.commands.upgrade import upgrade
from quantkeep.cli.commands.verify import verify

COMMANDS: Final[tuple[click.Command, ...]] = (
    backends,
    backtests,
    compact,
    doctor,
    effectiveness,
    equity,
    failures,
    gc,
    imports,
    lineage,
    merge,
    predictions,
    promotions,
    sessions,
    slippage,
    stats,
    strategies,
    trades,
    upgrade,
    verify,
)
