"""The kinds of ``quantkeep import``. A new one is a function here, and a line at the end."""

from pathlib import Path
from typing import Final

import click

from quantkeep import Keep
from quantkeep.cli.importing import Report, importer
from quantkeep.cli.options import examples

_SOURCES: Final = ("original", "vectorbt", "freqtrade", "bt", "backtesting.py")


@importer(
    "backtest-results",
    epilog=examples(
        "import backtest-results result.json --to sqlite:///research.db",
        "import backtest-results runs/vectorbt --to sqlite:///research.db",
        "import backtest-results user_data/backtest_results --to sqlite:///research.db",
    ),
)
@click.option("--from", "kind", type=click.Choice(_SOURCES), help="Left out, what is there tells.")
def backtest_results(path: Path, keep: Keep, kind: str | None) -> Report:
    """Backtest results: original JSON, exported directories, and what engines write.

    PATH is a file or folder. Results keep their ids; those of engines without ids get one that
    follows from what they say, so that importing twice adds nothing.
    """
    from quantkeep_plugins.importers.backtests import import_backtests

    done = import_backtests(path, keep, kind=kind)
    return Report(read=done.read, added=done.added, notes=done.notes)


COMMANDS: Final[tuple[click.Command, ...]] = (backtest_results,)
