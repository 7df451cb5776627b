"""Reading segments: only what is needed, and nothing that its checksum does not prove."""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

import pyarrow as pa

from quantkeep.collection import Collection
from quantkeep.errors import Corrupt
from quantkeep_backends._files.medium import Files
from quantkeep_backends._files.proving import damaged
from quantkeep_backends.parquet._columns import arranged
from quantkeep_backends.parquet._footer import Footer
from quantkeep_backends.parquet._packed import plain
from quantkeep_backends.parquet._segments import Piece, Segment

_KEPT: Final = 32 << 20  # bytes of row groups, as they were read last
_AT_ONCE: Final = 32 << 20  # bytes of a file


class Reader:
    """Reads the segments of one keep. Shared between threads."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._footers: dict[str, Footer] = {}
        self._groups: OrderedDict[tuple[Any, ...], pa.Table] = OrderedDict()
        self._sizes: dict[tuple[Any, ...], int] = {}
        self._kept = 0

    def footer(self, segment: Segment) -> Footer:
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

    def packed(self, segment: Segment, numbers: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Row groups, for who reads many of them and each once; of *columns*, those it has.

        Texts that repeat are dictionaries (see :mod:`._packed`). Raises as :meth:`group`.
        """
        footer = self.footer(segment)
        for number in numbers:
            footer.check_budget(number)
        return pa.concat_tables(
            footer.decoded(self._window(segment, part), part, columns)
            for part in _adjoining(segment, numbers)
        )

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
        return plain(footer.decoded(self._window(segment, [number]), [number], columns))

    def _window(self, segment: Segment, numbers: Sequence[int]) -> "_Window":
        """The bytes of row groups that adjoin each other.

        What lies between them is not proved, nor does the footer, which is, point to it.
        """
        pieces = [segment.pieces[number] for number in numbers]
        start = pieces[0].start
        data = self._files.piece(segment.path, start, _end(pieces[-1]) - start)
        if data is None:
            raise self._gone(segment)
        view = memoryview(data)
        for piece in pieces:
            self._prove(segment, piece, view[piece.start - start : _end(piece) - start])
        return _Window(view, start, segment.size)

    def piece(self, segment: Segment, piece: Piece) -> bytes:
        """Some bytes of the file; raises :class:`Corrupt` if they are not what was written."""
        data = self._files.piece(segment.path, piece.start, piece.length)
        if data is None:
            raise self._gone(segment)
        self._prove(segment, piece, data)
        return data

    def _prove(self, segment: Segment, piece: Piece, data: bytes | memoryview) -> None:
        if len(data) != piece.length or sha256(data).hexdigest() != piece.sha256:
            raise damaged(self._root(segment), "its content does not match its sha256")

    def _root(self, segment: Segment) -> str:
        return f"{self._files.root}/{segment.path}"

    def _gone(self, segment: Segment) -> Corrupt:
        return damaged(self._root(segment), "it is gone")


def _adjoining(segment: Segment, numbers: Sequence[int]) -> Iterator[list[int]]:
    """*numbers* of row groups, those together that adjoin each other and are not too much."""
    part = list[int]()
    for number in numbers:
        if part:
            size = _end(segment.pieces[number]) - segment.pieces[part[0]].start
            if number != part[-1] + 1 or size > _AT_ONCE:
                yield part
                part = []
        part.append(number)
    yield part


def _end(piece: Piece) -> int:
    return piece.start + piece.length


class _Window(io.RawIOBase):
    """A file of which one piece alone can be read."""

    def __init__(self, data: memoryview, start: int, size: int) -> None:
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

    def read(self, count: int = -1) -> memoryview:
        start = self._at - self._start
        if start < 0 or count < 0 or start + count > len(self._data):
            raise ValueError("it points outside of its row group")
        self._at += count
        return self._data[start : start + count]
