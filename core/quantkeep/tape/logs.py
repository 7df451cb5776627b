"""Writing to the tape."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

from quantkeep.batch import Receipt
from quantkeep.errors import InvalidRecord
from quantkeep.records import Record
from quantkeep.store import Home, PendingBatch, Store
from quantkeep.table import Table
from quantkeep.tape.records import (
    Diagnostic,
    EquityPoint,
    ExpectedValue,
    PositionEvent,
    Slippage,
)
from quantkeep.tape.trade import Trade

R = TypeVar("R", bound=Record)

# In the order in which entries of one commit are told again (events_after).
LOGS: Final[tuple[type[Record], ...]] = (
    Trade,
    PositionEvent,
    EquityPoint,
    Slippage,
    Diagnostic,
    ExpectedValue,
)
_NAMES: Final = frozenset(log.collection.name for log in LOGS)


class Logs(Store):
    """Six logs that only grow, each numbered by account and mode."""

    name: ClassVar[str] = "tape"
    records: ClassVar[tuple[type[Record], ...]] = LOGS

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._whole: dict[type[Record], Table[Any]] = {}  # those that hold all of a record's fields

    def append(
        self,
        *entries: Record | Iterable[Record],
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Add trades, equity points, and whatever else belongs on the tape, in one commit.

        An entry with a ``uid`` that is there already, with the same content, adds nothing; without
        a ``uid`` (or an operation id) it always adds (Z-31).

        Returns:
            A receipt with an outcome for each log, in the order in which entries first name it.

        Raises:
            InvalidValue: a field does not fit; names it.
            AlreadyExists: the ``uid`` is there, with other content.
            InvalidRecord: an entry is no record of the tape.
        """
        by_kind = _by_kind(_flat(entries))
        if batch is None and op_id is None and len(by_kind) == 1:
            ((kind, same),) = by_kind.items()
            return self._commit(self._writable(kind).append_now(same))
        writes = [self._writable(kind).append(same) for kind, same in by_kind.items()]
        return self._commit(*writes, op_id=op_id, batch=batch)

    def append_arrow(
        self,
        kind: type[Record],
        source: Any,
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Add the rows of a pyarrow, pandas, polars or DuckDB table to the log of *kind*.

        Columns are named as the record's fields; see :mod:`quantkeep.arrow` for their types. What
        the record derives (``notional``, ``slippage_bps``) is derived here too.

        Raises:
            InvalidValue: a column is missing, unknown or does not fit; names it and the first row.
        """
        write = self._log(kind).append_arrow(source)
        return self._commit(write, op_id=op_id, batch=batch)

    def _log(self, kind: type[R]) -> Table[R]:
        if getattr(kind, "collection", None) is None or kind.collection.name not in _NAMES:
            raise _not_here(kind)
        return self.table(kind)

    def _writable(self, kind: type[R]) -> Table[R]:
        """The log of *kind*, if it holds all the fields of *kind*: none may be lost."""
        table: Table[R] = self._whole.get(kind) or self._met(kind)
        return table

    def _met(self, kind: type[R]) -> Table[R]:
        table = self._log(kind)
        known = table.collection.record
        lost = set(kind.collection.names) - set(known.collection.names if known else ())
        if lost:
            raise InvalidRecord(
                f"this keep was opened without {kind.__name__}, so {', '.join(sorted(lost))} would "
                f"be lost: open it with records=[{kind.__name__}]"
            )
        self._whole[kind] = table
        return table


def _flat(entries: Iterable[Record | Iterable[Record]]) -> list[Record]:
    flat: list[Record] = []
    for entry in entries:
        if isinstance(entry, Record):
            flat.append(entry)
        elif hasattr(entry, "__iter__") and not isinstance(entry, str | bytes | Mapping):
            flat.extend(entry)
        else:
            raise _not_here(type(entry))
    return flat


def _by_kind(entries: Sequence[Record]) -> dict[type[Record], Sequence[Record]]:
    kinds = dict.fromkeys(map(type, entries))
    if len(kinds) < 2:
        return dict.fromkeys(kinds, entries)
    return {kind: [entry for entry in entries if type(entry) is kind] for kind in kinds}


def _not_here(kind: type) -> InvalidRecord:
    return InvalidRecord(
        f"{kind.__name__} is not on the tape, which keeps "
        f"{', '.join(log.__name__ for log in LOGS)}; tables go to append_arrow()"
    )
