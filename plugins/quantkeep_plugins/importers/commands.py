"""The kinds of ``quantkeep import``. A new one is a function here, and a line at the end."""

from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from quantkeep import Keep
from quantkeep.cli.importing import Report, importer
from quantkeep.cli.options import ParamType, examples

_SOURCES: Final = ("original", "vectorbt", "freqtrade", "bt", "backtesting.py")


class Zone(ParamType[tzinfo]):
    """A time zone by its IANA name."""

    name = "zone"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tzinfo:
        if isinstance(value, tzinfo):
            return value
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            expected = "UTC, America/New_York or Asia/Seoul"
            self.fail(f"{value!r} is no time zone: expected such as {expected}", param, ctx)


_zone: Final = click.option(
    "--zone", type=Zone(), default=UTC, show_default="UTC",
    help="Of times that say none; how many there were is reported.",
)  # fmt: skip


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
    """Backtest results, as JSON or of an engine.

    PATH is a file or folder: the original JSON, an exported directory, or what an engine wrote.
    Results keep their ids; those of engines without ids get one that follows from what they say,
    so that importing twice adds nothing.
    """
    from quantkeep_plugins.importers.backtests import import_backtests

    done = import_backtests(path, keep, kind=kind)
    return Report(read=done.read, added=done.added, notes=done.notes)


@importer(
    "research-run",
    epilog=examples("import research-run runs/2025-01-17 --to sqlite:///research.db"),
)
@_zone
def research_run(path: Path, keep: Keep, zone: tzinfo) -> Report:
    """A research loop, as JSON lines.

    Its strategies, backtests, failures and constraints. PATH is a folder with run.json and
    iterations.jsonl, strategies.jsonl, backtests.jsonl, scores.jsonl, failures.jsonl,
    constraint_sets.jsonl and provenance.jsonl.
    """
    from quantkeep_plugins.importers.knowledge import import_chain

    done = import_chain(path, keep, zone=zone)
    return Report(read=done.read, added=done.added, notes=done.notes)


@importer(
    "optuna-study",
    epilog=examples(
        "import optuna-study study.db --to sqlite:///research.db",
        "import optuna-study study.db --study sma --objective return --objective drawdown "
        "--zone Asia/Seoul",
    ),
)
@click.option("--study", help="Its name, where the file has several.")
@click.option("--objective", "objectives", multiple=True, help="Name of an objective, in order.")
@click.option("--data-version", help="Of the prices; left out, the study's name.")
@click.option("--engine-version", default="unknown", help="Of what ran the backtests.")
@_zone
def optuna_study(path: Path, keep: Keep, **options: Any) -> Report:
    """A study of Optuna, trial by trial.

    Each trial becomes a backtest, its parameters the strategy. PATH is the SQLite file of its
    storage, which is only read.
    """
    from quantkeep_plugins.importers.knowledge import import_optuna

    done = import_optuna(path, keep, **options)
    return Report(read=done.read, added=done.added, notes=done.notes)


@importer(
    "predictions",
    epilog=examples(
        "import predictions predictions/2025 --to sqlite:///mara.db",
        "import predictions predictions/2025 --zone America/New_York --finer round",
    ),
)
@click.option(
    "--finer", type=click.Choice(("refuse", "round")), default="refuse", show_default=True,
    help="Of numbers finer than their column, such as the noise of a float sum; what was rounded "
    "is kept beside it.",
)  # fmt: skip
@_zone
def predictions(path: Path, keep: Keep, zone: tzinfo, finer: Literal["refuse", "round"]) -> Report:
    """Predictions and their results, as JSON lines.

    PATH is a folder with predictions.jsonl and, if there are any, performance_results.jsonl and
    agent_performance.json.
    """
    from quantkeep_plugins.importers.predictions import import_predictions

    done = import_predictions(path, keep, zone=zone, finer=finer)
    rounded = (f"{len(done.rounded)} numbers were rounded",) if done.rounded else ()
    return Report(read=done.read, added=done.added, notes=(*done.notes, *rounded))


@importer(
    "portfolio",
    epilog=examples("import portfolio inputs/marv_current_portfolio.yaml --day 2025-01-17"),
)
@click.option("--user", "user_id", help="Whose, if neither the file nor its name says.")
@click.option("--day", type=click.DateTime(("%Y-%m-%d",)), help="The day, if the file says none.")
def portfolio(path: Path, keep: Keep, user_id: str | None, day: datetime | None) -> Report:
    """The current portfolio of a user, as YAML.

    PATH is the file; the user must be stored.
    """
    from quantkeep_plugins.importers.portfolio_yaml import import_portfolio

    on: date | None = None if day is None else day.date()
    saved = import_portfolio(path, keep, snapshot_date=on, user_id=user_id)
    return Report(read={"portfolios": 1}, added=saved.receipt.added)


COMMANDS: Final[tuple[click.Command, ...]] = (
    backtest_results,
    research_run,
    optuna_study,
    predictions,
    portfolio,
)
