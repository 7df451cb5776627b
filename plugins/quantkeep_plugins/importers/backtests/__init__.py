"""Backtest results of other programs, brought into ``keep.backtests``.

    from quantkeep_plugins.importers.backtests import import_backtests

    with quantkeep.open("sqlite:///research.db") as keep:
        print(import_backtests("runs/vectorbt", keep))

Each kind of source is a module with the same two names: ``recognises``, which looks at file names
alone, and ``results``, which reads. Importing is idempotent: ids are the source's, or follow from
what it says.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

from quantkeep import InvalidValue, Keep
from quantkeep_plugins.importers.backtests import (
    backtesting_py,
    bt,
    freqtrade,
    originals,
    vectorbt,
)
from quantkeep_plugins.importers.backtests.storing import Imported, store

__all__ = ["KINDS", "Imported", "import_backtests", "kind_of"]

KINDS: Final[Mapping[str, ModuleType]] = {
    "original": originals,
    "vectorbt": vectorbt,
    "freqtrade": freqtrade,
    "bt": bt,
    "backtesting.py": backtesting_py,
}


def import_backtests(path: str | Path, keep: Keep, *, kind: str | None = None) -> Imported:
    """Bring every result at *path* into ``keep.backtests``, one commit each.

    Args:
        path: a file or folder.
        keep: where to.
        kind: one of :data:`KINDS`; left out, what is there tells.

    Raises:
        NotFound: there is nothing at *path*.
        InvalidValue: it is of no known kind, or something in it cannot be stored; names it.
        AlreadyExists: the keep has other content under an id of the source.
    """
    place = Path(path)
    chosen = kind or kind_of(place)
    if chosen not in KINDS:
        raise InvalidValue(
            f"is {kind!r}", field="kind", value=kind, expected=f"one of {', '.join(KINDS)}"
        )
    return store(KINDS[chosen].results(place), keep, chosen)


def kind_of(place: Path) -> str:
    """Which kind of source is at *place*; raises :class:`InvalidValue`."""
    for name, module in KINDS.items():
        if module.recognises(place):
            return name
    if place.suffix == ".json":
        originals.check_readable(place)
    raise InvalidValue(
        f"{place} is no backtest result that this importer knows", field="path", value=str(place),
        expected=f"a result of {', '.join(KINDS)}",
    )  # fmt: skip
