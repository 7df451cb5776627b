"""Typed access to one collection: records in, records out. The five stores are made of these."""

import builtins
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from quantkeep._sealed_late import MANY, LateRows
from quantkeep.backend import Backend
from quantkeep.batch import (
    ANYTHING,
    Append,
    Delete,
    Expectation,
    Put,
    Require,
)
from quantkeep.collection import Collection, SealedRow
from quantkeep.columns import Scalar
from quantkeep.errors import InvalidRecord, InvalidValue, NotFound
from quantkeep.hosts import Hosts
from quantkeep.query import Condition, Measure, Query, Tally
from quantkeep.records import Record

if TYPE_CHECKING:
    import pyarrow as pa

R = TypeVar("R", bound=Record)


class Table(Generic[R]):
    """One collection on its backend.

    The methods that write return a write for a batch; :meth:`quantkeep.Keep.commit` applies it.
    """

    def __init__(self, collection: Collection, backend: Backend, hosts: Hosts) -> None:
        self.collection = collection
        self.backend = backend
        self.hosts = hosts

    # -- writes ----------------------------------------------------------------------------------

    def put(self, record: R, expect: Expectation = ANYTHING) -> Put:
        """Write *record*, if *expect* holds of what is stored under its key."""
        self._keyed("put")
        return Put(self.collection, self.seal(record), expect)

    def append(self, records: Iterable[R]) -> Append:
        """Add *records* to the log, in order."""
        if not self.collection.log:
            raise InvalidRecord(f"{self.collection.name} is keyed: put its records")
        given = [*records]
        if self._become_columns(given):
            from quantkeep import arrow

            if (rows := arrow.of_records(self.collection, given, self.hosts)) is not None:
                return Append(self.collection, rows)
        return Append(self.collection, self.sealed(given))

    def append_now(self, records: Iterable[R]) -> Append:
        """As :meth:`append`, for a commit that follows at once.

        Many records are sealed while the backend reads them, so the commit raises what refuses one.
        """
        given = [*records]
        if not (self.backend.streams_appends and self.collection.log):
            return self.append(given)
        if self._become_columns(given):
            from quantkeep import arrow

            seal = partial(self._sealed_part, given)
            rows = arrow.RecordColumns(self.collection, given, self.hosts, seal)
            return Append(self.collection, rows)
        if len(given) < MANY or self.backend.columns_from is not None:
            return self.append(given)
        return Append(self.collection, LateRows(given, self._seal_onto))

    def _become_columns(self, records: Sequence[R]) -> bool:
        least = self.backend.columns_from
        return least is not None and len(records) >= least

    def delete(self, *key: Any, expect: Expectation = ANYTHING) -> Delete:
        """Delete the record known by *key*."""
        return Delete(self.collection, self.collection.canonical_key(key), expect)

    def require(self, *key: Any, expect: Expectation) -> Require:
        """Let the batch apply only if *expect* holds of the record known by *key*."""
        return Require(self.collection, self.collection.canonical_key(key), expect)

    def seal(self, record: R) -> SealedRow:
        """The validated row of *record*."""
        return self.collection.seal(record, self.hosts)

    def sealed(self, records: Iterable[R]) -> list[SealedRow]:
        """The validated rows of *records*; an error says which of them it is about."""
        rows: list[SealedRow] = []
        self._seal_onto(rows, records)
        return rows

    def _sealed_part(self, records: Sequence[R], start: int, stop: int) -> list[SealedRow]:
        rows: list[SealedRow] = []
        self._seal_onto(rows, records[start:stop], start)
        return rows

    def _seal_onto(self, rows: list[SealedRow], records: Iterable[R], before: int = 0) -> None:
        try:
            self.collection.sealer.seal_onto(rows, records, self.hosts)
        except InvalidValue as error:
            raise self._placed(error, before + len(rows)) from None

    def _placed(self, error: InvalidValue, place: int) -> InvalidValue:
        if not place:
            return error
        where = f"{self.collection.name}[{place}]: {error.record or self.collection.name}"
        return type(error)(
            error.message,
            record=where,
            field=error.field,
            value=error.value,
            expected=error.expected,
        )

    def _keyed(self, verb: str) -> None:
        if self.collection.log:
            raise InvalidRecord(f"{self.collection.name} is a log: append to it, do not {verb}")

    # -- reads -----------------------------------------------------------------------------------

    def get(self, *key: Any) -> R | None:
        """The record known by *key*, its digest checked; ``None`` if there is none."""
        stored = self.backend.get(self.collection, self.collection.canonical_key(key))
        return None if stored is None else self.load(stored)

    def fetch(self, *key: Any) -> R:
        """As :meth:`get`; raises :class:`NotFound`."""
        found = self.get(*key)
        if found is None:
            raise NotFound(f"{self.collection.name} {key!r} is not stored")
        return found

    @property
    def load(self) -> Callable[[Any], R]:
        """Turns a stored row into its record, checking the digest."""
        load, hosts = self.collection.load, self.hosts
        return lambda stored: load(stored, hosts)

    def scan(self, query: Query | None = None) -> Iterator[R]:
        """The records that *query* asks for, one by one, in bounded memory."""
        return map(self.load, self.backend.scan(self.collection, query or Query()))

    def list(self, *where: Condition, **asked: Any) -> builtins.list[R]:
        """The records that meet *where*; *asked* as in :class:`Query`."""
        return [*self.scan(Query(where=where, **asked))]

    def first(self, *where: Condition, order: Sequence[str] = ()) -> R | None:
        """The first record that meets *where* in *order*."""
        return next(self.scan(Query(where=where, order=tuple(order), limit=1)), None)

    def last(self, *where: Condition, order: Sequence[str] = ()) -> R | None:
        """The last record that meets *where* in *order*."""
        query = Query(where=where, order=tuple(order), limit=1, take="last")
        return next(self.scan(query), None)

    def page(self, query: Query) -> tuple[builtins.list[R], tuple[Scalar, ...] | None]:
        """Records, and the cursor to read on from (``Query(after=...)``); ``None`` at the end."""
        rows = [*self.backend.scan(self.collection, query)]
        full = query.limit is not None and len(rows) == query.limit and rows
        cursor = query.cursor(self.collection, rows[-1]) if full else None
        return [*map(self.load, rows)], cursor

    def count(self, *where: Condition) -> int:
        """How many records meet *where*."""
        counted: int = self.tally(Tally(measures=(Measure("count"),), where=where))[0][0]
        return counted

    def tally(self, tally: Tally) -> builtins.list[tuple[Any, ...]]:
        """Figures of groups of records, computed by the engine where it can."""
        return self.backend.tally(self.collection, tally)

    def head(self, *stream: Any) -> int:
        """The last revision given in *stream*; 0 if there was none."""
        wanted = tuple(
            self.collection.column(name).canonical(value, record=self.collection.name)
            for name, value in zip(self.collection.stream, stream, strict=True)
        )
        heads = self.backend.heads(self.collection)
        return next((h.revision for h in heads if h.stream == wanted), 0)

    def arrow(
        self, query: Query | None = None, *, batch_rows: int = 10_000
    ) -> "pa.RecordBatchReader":
        """The rows that *query* asks for as a stream of Arrow record batches."""
        from quantkeep import arrow

        return arrow.read(self.collection, self.backend, query or Query(), batch_rows)

    def append_arrow(self, source: Any) -> Append:
        """Add the rows of *source*: anything with ``__arrow_c_stream__``, or a pyarrow table.

        Raises:
            InvalidValue: a column is missing, unknown or of another type; names it.
        """
        from quantkeep import arrow

        return Append(self.collection, arrow.rows(self.collection, source, self.hosts))
