"""Reading one table's file: only the row groups and columns that are asked for."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from functools import cached_property, partial
from typing import Any, Final

import attrs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quantkeep.backtests import _budget, _decimals, _derivations
from quantkeep.backtests._budget import reading
from quantkeep.backtests._derivations import Rule, State, Walk
from quantkeep.backtests._plan import Plan, zeros_of
from quantkeep.backtests._stored import StoredFile
from quantkeep.backtests.schemas import TableSchema
from quantkeep.blobs import Blobs
from quantkeep.columns import Kind, microseconds
from quantkeep.errors import Corrupt


@attrs.frozen(kw_only=True)
class Wanted:
    """Which part of a table.

    Attributes:
        columns: in this order; ``None``: all.
        symbols: only these; ``None``: all.
        since: from this instant on, microseconds since the epoch.
        until: up to, not including, this instant.
    """

    columns: tuple[str, ...] | None = None
    symbols: frozenset[str] | None = None
    since: int | None = None
    until: int | None = None

    @property
    def is_timed(self) -> bool:
        """Whether it is bounded in time."""
        return self.since is not None or self.until is not None


EVERYTHING: Final = Wanted()


class TableFile:
    """An opened file. One reader at a time."""

    def __init__(self, table: TableSchema, stored: StoredFile, blobs: Blobs) -> None:
        self._table = table
        self._stored = stored
        self._rules = [Rule(**rule) for rule in stored.rules]
        self._plan = Plan(
            table, decimals=stored.decimals, zeros=tuple(stored.zeros), rules=tuple(self._rules)
        )
        self._source = blobs.open(stored.blob)

    @cached_property
    def _file(self) -> Any:
        with reading(self._table.name):
            texts = [column.name for column in self._table.columns if column.kind is Kind.TEXT]
            file = pq.ParquetFile(self._source, read_dictionary=texts, pre_buffer=False)
            schema = file.schema.to_arrow_schema()
        if not schema.equals(self._plan.read_schema):
            raise Corrupt(
                f"{self._table.name}: the file's schema is not the one it was saved with: {schema}"
            )
        if file.metadata.num_rows != self._stored.rows:
            raise Corrupt(
                f"{self._table.name}: the file has {file.metadata.num_rows} rows, "
                f"{self._stored.rows} were saved"
            )
        return file

    def batches(self, wanted: Wanted = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """The rows *wanted*, a batch for each row group that has some."""
        names = [*(wanted.columns or self._table.names)]
        needed = self._needed(names, wanted)
        places = range(self._file.metadata.num_row_groups)
        asked = [place for place in places if self._may_hold(place, wanted)]
        read = partial(self._read, self._columns(needed))
        for place, table in zip(asked, _ahead(read, asked), strict=True):
            group = self._group(place, table, needed)
            yield _filtered(group, wanted).select(names)

    # -- which row groups --------------------------------------------------------------------------

    def _may_hold(self, place: int, wanted: Wanted) -> bool:
        """What the file's own statistics say; they were made by the writer, and digested."""
        if wanted.symbols is not None:
            low, high = self._bounds(place, "symbol")
            if low is not None and not any(low <= s <= high for s in wanted.symbols):
                return False
        if wanted.is_timed:
            low, high = self._bounds(place, "timestamp")
            if low is None:
                return True
            after = wanted.until is not None and _micros(low) >= wanted.until
            before = wanted.since is not None and _micros(high) < wanted.since
            return not (after or before)
        return True

    def _bounds(self, place: int, column: str) -> tuple[Any, Any]:
        group = self._file.metadata.row_group(place)
        statistics = group.column(self._plan.names.index(column)).statistics
        if statistics is None or not statistics.has_min_max:
            return None, None
        return statistics.min, statistics.max

    # -- one row group -----------------------------------------------------------------------------

    def _needed(self, names: Sequence[str], wanted: Wanted) -> list[str]:
        """Columns to read, and to compute, for what is wanted."""
        needed = {*names}
        if wanted.symbols is not None:
            needed.add("symbol")
        if wanted.is_timed:
            needed.add("timestamp")
        if any(rule.column in needed for rule in self._rules):
            needed.update(_derivations.SOURCES)
        if "cumulative_pnl_pct" in needed and self._rules:
            needed.add("cumulative_pnl")
        return [name for name in self._table.names if name in needed]

    def _columns(self, needed: Sequence[str]) -> list[str]:
        """The file's own columns that are needed."""
        stored = [name for name in self._plan.names if name in needed]
        return [*stored, *(zeros_of(name) for name in self._plan.zeros if name in stored)]

    def _read(self, columns: Sequence[str], place: int) -> pa.Table:
        return _budget.read_group(self._file, place, columns, self._table.name)

    def _group(self, place: int, table: pa.Table, needed: Sequence[str]) -> pa.RecordBatch:
        stored = [name for name in self._plan.names if name in needed]
        found = {name: self._unpacked(name, table) for name in stored}
        rules = [rule for rule in self._rules if rule.column in needed]
        if rules:
            found |= self._derived(place, rules, pa.RecordBatch.from_pydict(found))
        fields = [self._table.arrow.field(name) for name in needed]
        return pa.RecordBatch.from_arrays([found[n] for n in needed], schema=pa.schema(fields))

    def _unpacked(self, name: str, table: Any) -> Any:
        array = _one(table[name])
        if name not in self._plan.decimals:
            return array
        negative = _one(table[zeros_of(name)]) if name in self._plan.zeros else None
        return _decimals.from_decimals(array, self._plan.decimals[name], negative)

    def _derived(self, place: int, rules: list[Rule], group: Any) -> dict[str, Any]:
        start = self._stored.starts[place]
        symbol = group["symbol"][0].as_py()
        walk = Walk(State(symbol, *start) if start else None)
        try:
            derived = _derivations.derive(rules, walk.inputs(group))
        except _derivations.Interrupted:
            raise Corrupt(f"{self._table.name}: its symbols are not as they were saved") from None
        for name, floats in derived.items():
            _derivations.check_proof(name, floats, self._stored.proofs[name][place])
        return derived


def groups(table: TableSchema, stored: StoredFile, blobs: Blobs) -> Iterator[pa.RecordBatch]:
    """All row groups of a file, as they were given to be written."""
    return TableFile(table, stored, blobs).batches()


def _ahead(read: Callable[[int], Any], places: Sequence[int]) -> Iterator[Any]:
    """What *read* gives of each place; the next one is read while one is worked on."""
    if len(places) < 2:
        yield from map(read, places)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="quantkeep-ahead") as reader:
        coming = reader.submit(read, places[0])
        for following in places[1:]:
            ready, coming = coming.result(), reader.submit(read, following)
            yield ready
        yield coming.result()


def _filtered(group: Any, wanted: Wanted) -> Any:
    masks = []
    if wanted.symbols is not None:
        masks.append(pc.is_in(group["symbol"], pa.array(sorted(wanted.symbols), pa.string())))
    if wanted.since is not None:
        masks.append(pc.greater_equal(group["timestamp"].cast(pa.int64()), wanted.since))
    if wanted.until is not None:
        masks.append(pc.less(group["timestamp"].cast(pa.int64()), wanted.until))
    for mask in masks[1:]:
        masks[0] = pc.and_(masks[0], mask)
    return group.filter(masks[0]) if masks else group


def _one(column: Any) -> Any:
    """A column as one array; combining what is one already would copy it."""
    if column.num_chunks == 1:
        return column.chunk(0)
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _micros(statistic: Any) -> int:
    return microseconds(statistic.replace(tzinfo=UTC))
