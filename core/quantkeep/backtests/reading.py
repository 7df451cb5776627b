"""Reading results back: the original JSON, the tables, or as little of them as is asked for."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from quantkeep.backtests.part import Part, TaskId, instant_of, schema_of
from quantkeep.backtests.records import BacktestResult
from quantkeep.backtests.schemas import SIGNALS, TABLES, V1, ResultSchema, TableSchema
from quantkeep.errors import InvalidQuery
from quantkeep.query import Query, Where

if TYPE_CHECKING:
    import pyarrow as pa

    from quantkeep.backtests._reader import Wanted
    from quantkeep.backtests._stored import StoredFile


@attrs.frozen
class Tables:
    """The three tables of a result, in the columns and types that they were given in."""

    symbol_summary: "pa.Table"
    symbol_signals: "pa.Table"
    performance_curve: "pa.Table"


class Reading(Part):
    """How results are read."""

    def get_result(self, task_id: TaskId) -> dict[str, Any]:
        """The original JSON, equal in value and type (BT-14, Z-50).

        A result that came as tables is spelled in the usual way. All of it is in memory at once;
        :meth:`read` and :meth:`scan` stream.

        Raises:
            NotFound: it is not stored, or has no tables (yet).
            TooLarge: it does not fit into memory.
            Corrupt: it is not what was saved.
        """
        from quantkeep.backtests import _incoming, _remainder
        from quantkeep.backtests._originals import Spellings, put_together
        from quantkeep.backtests._stored import REMAINDER

        record = self._with_tables(task_id)
        schema, files = schema_of(record), files_of(record)
        found = {name: _single(self._whole(record, name)) for name in TABLES}
        spellings = {
            name: Spellings.remembered(files[name].forms, files[name].form_of) for name in TABLES
        }
        rests = _remainder.load(files.get(REMAINDER), self._home.hosts, self._blobs)
        symbols = put_together(found, spellings, rests, record.symbols, schema)
        return _incoming.original_of(record.task_id, record.as_dict(), record.other or {}, symbols)

    def tables(self, task_id: TaskId) -> Tables:
        """The three tables, in the columns and types that they were given in (Z-52).

        Those of a result that came as JSON have the types of BT-6 ... BT-8.

        Raises:
            NotFound, TooLarge, Corrupt: as :meth:`get_result`.
        """
        from quantkeep.backtests import _sources

        record = self._with_tables(task_id)
        schema, files = schema_of(record), files_of(record)
        return Tables(
            *(
                _sources.as_given(schema[name], self._whole(record, name), files[name].given)
                for name in TABLES
            )
        )

    def read(
        self,
        task_id: TaskId,
        table: str = SIGNALS,
        *,
        columns: Sequence[str] | None = None,
        symbols: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> "pa.RecordBatchReader":
        """Part of one table, as a stream that reads only what it needs (BT-26).

        Args:
            task_id: of the result.
            table: ``"symbol_summary"``, ``"symbol_signals"`` or ``"performance_curve"``.
            columns: only these, in this order.
            symbols: only rows of these.
            since: only rows from this instant on.
            until: only rows before this instant.

        Returns:
            Record batches, one for each row group that has rows; instants are zone-less UTC.

        Raises:
            NotFound: as :meth:`get_result`.
            InvalidQuery: the table has no such column, or no instants.
            Corrupt: while reading: it is not what was saved.
        """
        record = self._with_tables(task_id)
        schema = _table(schema_of(record), table)
        wanted = _wanted(schema, columns, symbols, since, until)
        return self._stream(record, schema, wanted)

    def scan(
        self,
        table: str = SIGNALS,
        query: Query | None = None,
        *,
        columns: Sequence[str] | None = None,
        symbols: Sequence[str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        schema: ResultSchema = V1,
    ) -> "pa.RecordBatchReader":
        """One table of many results, one after the other, in bounded memory.

        Args:
            table: as in :meth:`read`, as are *columns*, *symbols*, *since* and *until*.
            query: over ``backtest_results``: which results, and in which order; left out, all of
                them, newest first. Those without tables are passed over.
            columns: as in :meth:`read`.
            symbols: as in :meth:`read`.
            since: as in :meth:`read`.
            until: as in :meth:`read`.
            schema: what the stream has; of columns that a result lacks it has nulls, and those
                that a result has beyond it are passed over (BT-24).

        Returns:
            Record batches with ``task_id`` as their first column.

        Raises:
            InvalidQuery: the table or the results have no such column.
            Corrupt: while reading: a result is not what was saved.
        """
        import pyarrow as pa

        wide = _table(schema, table)
        wanted = _wanted(wide, columns, symbols, since, until)
        names = wanted.columns or wide.names
        fields = [pa.field("task_id", pa.string()), *(wide.arrow.field(n) for n in names)]
        batches = self._scanned(table, query or NEWEST, wanted, pa.schema(fields))
        return pa.RecordBatchReader.from_batches(pa.schema(fields), batches)

    def _scanned(
        self, table: str, query: Query, wanted: "Wanted", schema: "pa.Schema"
    ) -> "Iterator[pa.RecordBatch]":
        for record in self._results.scan(query):
            if not record.has_tables:
                continue
            own = schema_of(record)[table]
            held = tuple(name for name in schema.names if name in own.places)
            if wanted.symbols is not None and wanted.symbols.isdisjoint(record.symbols):
                continue
            for batch in self._opened(record, own).batches(attrs.evolve(wanted, columns=held)):
                yield _widened(batch, str(record.task_id), schema)

    def _stream(
        self, record: BacktestResult, table: TableSchema, wanted: "Wanted"
    ) -> "pa.RecordBatchReader":
        import pyarrow as pa

        fields = [table.arrow.field(name) for name in wanted.columns or table.names]
        batches = self._opened(record, table).batches(wanted)
        return pa.RecordBatchReader.from_batches(pa.schema(fields), batches)

    def _whole(self, record: BacktestResult, name: str) -> "pa.Table":
        """All of one table, if it fits into memory."""
        import pyarrow as pa

        from quantkeep.backtests import _budget

        table = schema_of(record)[name]
        _budget.check_table(files_of(record)[name].rows, table.arrow, name)
        batches = [*self._opened(record, table).batches()]
        return pa.Table.from_batches(batches, schema=table.arrow)

    def _opened(self, record: BacktestResult, table: TableSchema) -> Any:
        from quantkeep.backtests._reader import TableFile

        return TableFile(table, files_of(record)[table.name], self._blobs)


NEWEST = Query(order=("-created_at", "-revision"))


def files_of(record: BacktestResult) -> "dict[str, StoredFile]":
    """What a record says of its files, by table."""
    from quantkeep.backtests._stored import REMAINDER, StoredFile

    said = record.files or {}
    names = [name for name in (*TABLES, REMAINDER) if name in said]
    return {name: StoredFile.from_document(said[name]) for name in names}


def _single(table: "pa.Table") -> Any:
    """A table as one batch."""
    import pyarrow as pa

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _table(schema: ResultSchema, name: str) -> TableSchema:
    if name not in TABLES:
        raise InvalidQuery(f"a result has no table {name!r}; it has {', '.join(TABLES)}")
    return schema[name]


def _wanted(
    table: TableSchema,
    columns: Sequence[str] | None,
    symbols: Sequence[str] | None,
    since: datetime | None,
    until: datetime | None,
) -> "Wanted":
    from quantkeep.backtests._reader import Wanted

    for name in columns or ():
        if name not in table.places:
            known = ", ".join(table.names)
            raise InvalidQuery(f"{table.name} has no column {name!r}; it has {known}")
    if (since or until) and not table.is_timed:
        raise InvalidQuery(f"{table.name} has no instants to be bounded by")
    return Wanted(
        columns=None if columns is None else tuple(columns),
        symbols=None if symbols is None else frozenset(symbols),
        since=instant_of(since, "since"),
        until=instant_of(until, "until"),
    )


def _widened(batch: Any, task_id: str, schema: "pa.Schema") -> Any:
    """A result's batch as the stream has it."""
    import pyarrow as pa

    held = set(batch.schema.names)
    arrays = [
        batch[field.name] if field.name in held else pa.nulls(len(batch), field.type)
        for field in list(schema)[1:]
    ]
    named = pa.repeat(pa.scalar(task_id), len(batch))
    return pa.RecordBatch.from_arrays([named, *arrays], schema=schema)


def by_symbol(symbol: str) -> Where:
    """The condition that a result traded *symbol* (BT-5)."""
    return Where("symbols", "contains", symbol)
