"""Writing one table as one Parquet file, row group by row group, in bounded memory."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from quantkeep.backtests import _derivations, _reader
from quantkeep.backtests._plan import Broken, Plan, planned
from quantkeep.backtests._runs import runs
from quantkeep.backtests._stored import StoredFile
from quantkeep.backtests.encodings import Encoding
from quantkeep.backtests.schemas import TableSchema
from quantkeep.blobs import Blobs

# A row group also ends with its symbol, once it has this part of its rows: reading one symbol out
# of many then reads few others, and 20,000 rows compress as well as 100,000 to within 2 %.
_ALIGNED_PART: Final = 5
_BUFFER_BYTES: Final = 256 * 1024
_MOST_RUNS: Final = 1_000  # in one batch; more, and the symbols are not together at all


class TableWriter:
    """Takes batches of one table, and stages its file."""

    def __init__(self, table: TableSchema, encoding: Encoding, blobs: Blobs) -> None:
        self._table = table
        self._encoding = encoding
        self._blobs = blobs
        self._file: _File | None = None
        self._pending: list[Any] = []
        self._rows = 0
        self._symbol: str | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows that follow; whole row groups go out."""
        for part, symbol in self._parts(batch):
            enough = self._encoding.row_group_rows // _ALIGNED_PART
            if symbol != self._symbol and self._rows >= max(enough, 1) and self._encoding.tuned:
                self._flush()
            self._symbol = symbol
            self._take(part)

    def _parts(self, batch: pa.RecordBatch) -> Iterator[tuple[Any, str | None]]:
        found = [*runs(batch["symbol"])] if self._encoding.tuned else []
        if not 0 < len(found) <= _MOST_RUNS:
            yield batch, None
            return
        for symbol, start, stop in found:
            yield batch.slice(start, stop - start), symbol

    def _take(self, part: Any) -> None:
        most = self._encoding.row_group_rows
        while len(part):
            piece = part.slice(0, most - self._rows)
            self._pending.append(piece)
            self._rows += len(piece)
            part = part.slice(len(piece))
            if self._rows == most:
                self._flush()

    def _flush(self) -> None:
        if self._rows:
            group = pa.Table.from_batches(self._pending).combine_chunks().to_batches()[0]
            self._pending, self._rows = [], 0
            self._put(group)

    def _put(self, group: Any) -> None:
        if self._file is None:
            self._file = _File(
                planned(self._table, group, self._encoding), self._encoding, self._blobs
            )
        try:
            self._file.put(group)
        except Broken as broken:
            self._start_again(broken.plan)
            self._put(group)

    def _start_again(self, plan: Plan) -> None:
        """What was staged under the old plan is read back, and staged under *plan*."""
        assert self._file is not None
        before = self._file.close()
        self._file = _File(plan, self._encoding, self._blobs)
        for batch in _reader.groups(self._table, before, self._blobs):
            self._file.put(batch)

    def close(self) -> StoredFile:
        """Stage the rest; what is to be known of the file."""
        self._flush()
        if self._file is None:
            self._file = _File(Plan(self._table), self._encoding, self._blobs)
        return self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is not None and self._file is not None:
            self._file.abandon()


class _File:
    """One Parquet file under one plan."""

    def __init__(self, plan: Plan, encoding: Encoding, blobs: Blobs) -> None:
        self._plan = plan
        self._encoding = encoding
        self._blob = blobs.create()
        self._tag = Tagging(self._blob)
        self._sink = io.BufferedWriter(self._tag, _BUFFER_BYTES)  # Parquet comes in many pieces
        options = plan.writer_options(encoding)
        self._writer = pq.ParquetWriter(self._sink, plan.schema, **options)
        self._walk = _derivations.Walk()
        self._rows = 0
        self._starts: list[list[float] | None] = []
        self._proofs: dict[str, list[str]] = {rule.column: [] for rule in plan.rules}

    def put(self, group: Any) -> None:
        """One row group; raises :class:`Broken` before anything of it is written."""
        start = self._start(group)
        packed = self._plan.packed(group, self._walk)
        self._writer.write_batch(packed, row_group_size=len(packed))
        self._rows += len(packed)
        if self._plan.rules:
            self._starts.append(start)
            for name, proofs in self._proofs.items():
                proofs.append(_derivations.proof(group[name]))

    def _start(self, group: Any) -> list[float] | None:
        state = self._walk.state
        if state is None or not self._plan.rules or group["symbol"][0].as_py() != state.symbol:
            return None
        return [state.peak, state.start]

    def close(self) -> StoredFile:
        """Finish the file."""
        try:
            self._writer.close()
            self._sink.flush()
        finally:
            self._blob.close()
        return StoredFile(
            rows=self._rows,
            etag=self._tag.etag,
            blob=self._blob.ref,
            decimals=dict(self._plan.decimals),
            zeros=[*self._plan.zeros],
            rules=[attrs.asdict(rule) for rule in self._plan.rules],
            starts=self._starts,
            proofs=self._proofs,
        )

    def abandon(self) -> None:
        """Stage no more; nothing will refer to what was."""
        with suppress(Exception):
            self._writer.close()
        self._blob.__exit__(RuntimeError, None, None)


class Tagging(io.RawIOBase):
    """Passes on what is written, and knows its ETag: the MD5 that S3 gives one put (BT-23)."""

    def __init__(self, sink: BinaryIO | io.RawIOBase) -> None:
        super().__init__()
        self._sink = sink
        self._digest = hashlib.md5(usedforsecurity=False)
        self._at = 0

    @property
    def etag(self) -> str:
        """Of all that was written."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            self._digest.update(view)
            self._sink.write(view)
            self._at += view.nbytes
            return view.nbytes


def staged(table: TableSchema, batches: Any, encoding: Encoding, blobs: Blobs) -> StoredFile:
    """Stage all of *batches* as one file."""
    with TableWriter(table, encoding, blobs) as writer:
        for batch in batches:
            writer.write(batch)
        return writer.close()
