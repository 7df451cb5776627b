"""Reading segments: only what is needed, and nothing that its checksum does not prove."""

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from quantkeep.collection import Collection
from quantkeep.errors import Corrupt
from quantkeep_backends._files.medium import Files
from quantkeep_backends._files.proving import damaged
from quantkeep_backends.parquet._bounds import Bounds, bounds_of_group
from quantkeep_backends.parquet._columns import arranged
from quantkeep_backends.parquet._segments import Piece, Segment

GROUP_LIMIT: Final = 1 << 20  # rows; more than a segment of ours has in a row group
BYTES_LIMIT: Final = 4 << 30  # of a row group, by its footer, once it is unpacked
_KEPT: Final = 32 << 20  # bytes of row groups, as they were read last


class Reader:
    """Reads the segments of one keep. Shared between threads."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._footers: dict[str, Footer] = {}
        self._groups: OrderedDict[tuple[Any, ...], pa.Table] = OrderedDict()
        self._sizes: dict[tuple[Any, ...], int] = {}
        self._kept = 0

    def footer(self, segment: Segment) -> "Footer":
        """What the file says of itself; read once."""
        with self._lock:
            known = self._footers.get(segment.path)
        if known is None:
            known = Footer(segment, self.piece(segment, segment.pieces[-1]), self._root(segment))
            with self._lock:
                self._footers[segment.path] = known
        return known

    def group(
        self, segment: Segment, number: int, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """A row group; of it, those of *columns* that it has.

        Raises:
            Corrupt: it is not what was written; names the file.
        """
        key = (segment.path, number, None if columns is None else tuple(columns))
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
        table = self._read(segment, number, columns)
        with self._lock:
            self._keep(key, table)
        return table

    def _keep(self, key: tuple[Any, ...], table: pa.Table) -> None:
        """Have *table* at hand, as long as others do not need the room."""
        if key in self._groups:
            return  # another thread was as quick
        self._groups[key] = table
        self._sizes[key] = table.nbytes
        self._kept += self._sizes[key]
        while self._kept > _KEPT and len(self._groups) > 1:
            oldest, _ = self._groups.popitem(last=False)
            self._kept -= self._sizes.pop(oldest)

    def rows(self, collection: Collection, segment: Segment, number: int) -> pa.Table:
        """A row group with the columns of *collection* and the stamps."""
        return arranged(collection, self.group(segment, number))

    def check(self, segment: Segment) -> None:
        """Hold the whole file against its checksum; raises :class:`Corrupt`."""
        data = self._files.read(segment.path)
        if data is None:
            raise self._gone(segment)
        if sha256(data).hexdigest() != segment.sha256:
            raise damaged(self._root(segment), "its content does not match its sha256")

    def forget(self, paths: set[str]) -> None:
        """Let go of what is known of segments other than *paths*."""
        with self._lock:
            self._footers = {p: f for p, f in self._footers.items() if p in paths}

    # -- bytes -------------------------------------------------------------------------------------

    def _read(self, segment: Segment, number: int, columns: Sequence[str] | None) -> pa.Table:
        footer = self.footer(segment)
        footer.check_budget(number)
        piece = segment.pieces[number]
        window = _Window(self.piece(segment, piece), piece.start, segment.size)
        names = None
        if columns is not None:
            names = [name for name in columns if name in footer.names]
        try:
            with pq.ParquetFile(window, metadata=footer.metadata, pre_buffer=True) as file:
                table: pa.Table = file.read_row_group(number, columns=names, use_threads=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise damaged(self._root(segment), f"it cannot be read ({error})") from None
        if table.num_rows != footer.metadata.row_group(number).num_rows:
            raise damaged(self._root(segment), "it has other rows than its footer says")
        return table

    def piece(self, segment: Segment, piece: Piece) -> bytes:
        """Some bytes of the file; raises :class:`Corrupt` if they are not what was written."""
        data = self._files.piece(segment.path, piece.start, piece.length)
        if data is None:
            raise self._gone(segment)
        if len(data) != piece.length or sha256(data).hexdigest() != piece.sha256:
            raise damaged(self._root(segment), "its content does not match its sha256")
        return data

    def _root(self, segment: Segment) -> str:
        return f"{self._files.root}/{segment.path}"

    def _gone(self, segment: Segment) -> Corrupt:
        return damaged(self._root(segment), "it is gone")


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
    def names(self) -> list[str]:
        """The columns that the file has."""
        return [*self.metadata.schema.names]

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


class _Window(io.RawIOBase):
    """A file of which one piece alone can be read."""

    def __init__(self, data: bytes, start: int, size: int) -> None:
        self._data, self._start, self._size = data, start, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int = -1) -> bytes:
        start = self._at - self._start
        if start < 0 or count < 0 or start + count > len(self._data):
            raise ValueError("it points outside of its row group")
        self._at += count
        return self._data[start : start + count]
