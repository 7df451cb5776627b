"""The footer of a segment: what is in the file, and how its row groups are decoded."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from quantkeep.collection import Collection
from quantkeep_backends._files.proving import damaged
from quantkeep_backends.parquet._bounds import Bounds, bounds_of_group
from quantkeep_backends.parquet._columns import inner_names
from quantkeep_backends.parquet._packed import is_text, nulls
from quantkeep_backends.parquet._segments import Segment

GROUP_LIMIT: Final = 1 << 20  # rows; more than a segment of ours has in a row group
BYTES_LIMIT: Final = 4 << 30  # of a row group, by its footer, once it is unpacked


class Footer:
    """Where the row groups of a segment are, and what is in them."""

    def __init__(self, segment: Segment, data: bytes, path: str) -> None:
        self._segment = segment
        self._path = path
        try:
            self.metadata = pq.read_metadata(pa.BufferReader(b"PAR1" + data))
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, f"its footer cannot be read ({error})") from None
        if self.metadata.num_row_groups != len(segment.pieces) - 1:
            raise damaged(path, "it has other row groups than the log says")

    @property
    def groups(self) -> range:
        """The numbers of the row groups."""
        return range(self.metadata.num_row_groups)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns that the file has, and their types."""
        found: pa.Schema = self.metadata.schema.to_arrow_schema()
        named = zip(found, self.names, strict=True)
        return pa.schema([field.with_name(name) for field, name in named], found.metadata)

    @cached_property
    def names(self) -> list[str]:
        """The columns that the file has, as they are called in memory."""
        return inner_names(self.metadata.schema.names)

    def check_budget(self, number: int) -> None:
        """Refuse a row group that would fill the memory; raises :class:`Corrupt`."""
        group = self.metadata.row_group(number)
        if group.num_rows > GROUP_LIMIT or group.total_byte_size > BYTES_LIMIT:
            raise damaged(
                self._path,
                f"row group {number} claims {group.num_rows:,} rows of {group.total_byte_size:,} "
                "bytes, more than is ever written; it was not unpacked",
            )

    def rows(self, number: int) -> int:
        """How many rows a row group has."""
        count: int = self.metadata.row_group(number).num_rows
        return count

    def bounds(self, collection: Collection, number: int) -> dict[str, Bounds]:
        """What lies between which values in a row group, of the columns of which that is known."""
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = bounds_of_group(collection, self.metadata, number)
        return known

    @cached_property
    def _known(self) -> dict[int, dict[str, Bounds]]:
        return {}

    # -- rows --------------------------------------------------------------------------------------

    def decoded(
        self, source: Any, numbers: Sequence[int], columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Row groups, packed, out of *source*; of *columns*, those that the file has.

        Raises:
            Corrupt: it is not what was written; names the file.
        """
        names = self.names if columns is None else [n for n in columns if n in self.names]
        rows = sum(map(self.rows, numbers))
        void = frozenset.intersection(*map(self._void, numbers))
        read = self._read(source, numbers, [name for name in names if name not in void])
        if read.num_rows != rows:
            raise damaged(self._path, "it has other rows than its footer says")
        arrays = [
            nulls(rows, self.schema.field(name).type) if name in void else read.column(name)
            for name in names
        ]
        return pa.Table.from_arrays(arrays, schema=self._schema_of(names, arrays))

    def _read(self, source: Any, numbers: Sequence[int], names: Sequence[str]) -> pa.Table:
        try:
            with pq.ParquetFile(
                source, metadata=self.metadata, read_dictionary=self._repeating, pre_buffer=True
            ) as file:
                called = [outer for inner, outer in self._called.items() if inner in names]
                read = file.read_row_groups(numbers, columns=called, use_threads=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise damaged(self._path, f"it cannot be read ({error})") from None
        return read.rename_columns([inner for inner in self._called if inner in names])

    @cached_property
    def _called(self) -> dict[str, str]:
        """What the file calls its columns."""
        return dict(zip(self.names, self.metadata.schema.names, strict=True))

    def _schema_of(self, names: Sequence[str], arrays: Sequence[Any]) -> pa.Schema:
        """The part of the schema for *names*, with the types of *arrays*."""
        fields = map(self.schema.field, names)
        typed = [f.with_type(a.type) for f, a in zip(fields, arrays, strict=True)]
        return pa.schema(typed, self.schema.metadata)

    @cached_property
    def _repeating(self) -> list[str]:
        """Columns of texts that were written with a dictionary, as the file calls them."""
        if not self.metadata.num_row_groups:
            return []
        group = self.metadata.row_group(0)
        texts = (n for n, field in enumerate(self.schema) if is_text(field.type))
        called = self.metadata.schema.names
        return [called[n] for n in texts if "RLE_DICTIONARY" in group.column(n).encodings]

    def _void(self, number: int) -> frozenset[str]:
        """Columns that have nulls alone in a row group."""
        known = self._voids.get(number)
        if known is None:
            group = self.metadata.row_group(number)
            empty = (n for n in range(group.num_columns) if _is_void(group.column(n)))
            known = self._voids[number] = frozenset(self.names[n] for n in empty)
        return known

    @cached_property
    def _voids(self) -> dict[int, frozenset[str]]:
        return {}


def _is_void(column: Any) -> bool:
    said = column.statistics
    return said is not None and said.has_null_count and said.null_count == column.num_values > 0
