"""Segments: immutable Parquet files, written whole from a buffer, and what the log says of them."""

import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from typing import Any, Final

import attrs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quantkeep.ahead import ahead
from quantkeep.collection import Collection, Key
from quantkeep.model import Group
from quantkeep_backends._files.medium import Files
from quantkeep_backends._files.proving import damaged
from quantkeep_backends.parquet._bounds import Bounds, Ends, bounds_of
from quantkeep_backends.parquet._columns import canonical, is_constant, outer
from quantkeep_backends.parquet._hashes import Hashes
from quantkeep_backends.parquet._scalars import read, read_key, write_key

FOLDER: Final = "segments"
GROUP_ROWS: Final = 16_384
SEGMENT_ROWS: Final = 8 * GROUP_ROWS
NEWEST_ROWS: Final = 8_192  # of a log that are kept in the order of time, in small row groups
_NEWEST_GROUP: Final = 1_024
_SAMPLE: Final = 8_192  # rows that tell whether values of a column repeat
_TAIL: Final = 8  # bytes behind the footer: its length, and the magic
Again = dict[tuple[str, str], "Segment"]  # by schema and runs
Kept = Mapping[Group, Hashes]
Places = Mapping[Group, tuple[int, int]]  # from where to where


@attrs.frozen
class Run:
    """Rows of one stream: how many, and from which revision to which."""

    first: int
    last: int
    rows: int


@attrs.frozen
class Piece:
    """Bytes of a file, and their checksum."""

    start: int
    length: int
    sha256: str


@attrs.frozen
class Segment:
    """One file, as the log or a manifest names it.

    Attributes:
        path: below the root of the keep.
        sha256: of the whole file.
        schema: identifies the columns it was written with.
        runs: the streams that have rows in it.
        bounds: of the columns that can be looked for.
        pieces: a row group each, in order; the last is the footer.
        hashes: of what rows are known by, where they were worth keeping.
    """

    path: str
    size: int
    sha256: str
    rows: int
    schema: str
    runs: dict[Key, Run] = attrs.field(hash=False)
    bounds: dict[str, Bounds] = attrs.field(hash=False)
    pieces: tuple[Piece, ...]
    hashes: dict[Group, Piece] = attrs.field(factory=dict, hash=False)

    def may_have(self, key: Key) -> bool:
        """Whether the row of a log under *key* may be in it."""
        run = self.runs.get(key[:-1])
        return run is not None and run.first <= revision_of(key) <= run.last

    def leaves_room(self, columns: Sequence[str], ends: Sequence[Ends]) -> bool:
        """Whether values between *ends*, by column, may be in it."""
        known = [self.bounds.get(name) for name in columns]
        return not any(b and e and b.lie_apart(*e) for b, e in zip(known, ends, strict=True))

    def said(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "path": self.path,
            "size": self.size,
            "sha256": self.sha256,
            "rows": self.rows,
            "schema": self.schema,
            "runs": [[write_key(s), r.first, r.last, r.rows] for s, r in self.runs.items()],
            "bounds": {
                name: [*write_key((b.least, b.greatest)), b.nulls]
                for name, b in self.bounds.items()
            },
            "pieces": [[*attrs.astuple(piece)] for piece in self.pieces],
            "hashes": [[group, *attrs.astuple(piece)] for group, piece in self.hashes.items()],
        }

    @classmethod
    def heard(cls, said: dict[str, Any]) -> "Segment":
        """What :meth:`said` said."""
        bounds = {
            name: Bounds(read(least), read(greatest), nulls)
            for name, (least, greatest, nulls) in said["bounds"].items()
        }
        return cls(
            said["path"],
            said["size"],
            said["sha256"],
            said["rows"],
            said["schema"],
            {read_key(stream): Run(*run) for stream, *run in said["runs"]},
            bounds,
            tuple(Piece(*piece) for piece in said["pieces"]),
            {tuple(group): Piece(*piece) for group, *piece in said.get("hashes", ())},
        )


def revision_of(key: Key) -> int:
    """The revision in the key of a log's row."""
    revision = key[-1]
    assert isinstance(revision, int)
    return revision


# -- writing ---------------------------------------------------------------------------------------


def portions(table: pa.Table) -> Iterator[pa.Table]:
    """*table* in parts of the size of a segment."""
    for start in range(0, table.num_rows, SEGMENT_ROWS):
        yield table.slice(start, SEGMENT_ROWS)


def write(
    files: Files,
    collection: Collection,
    tables: Iterable[pa.Table],
    again: Again | None = None,
    kept: Callable[[Collection, pa.Table], Kept] = lambda *_: {},
) -> Generator[Segment]:
    """Write each of *tables* as a new file, which nobody sees before a commit names it.

    *again*, for rows of a log, which are known by their revisions, has files that were written
    before: they are taken for tables of the same columns and runs. New ones are put into it.
    *kept* gives the hashes that go into the file of a table.
    """

    def drafted(table: pa.Table) -> tuple[Segment, bytes | None]:
        runs = runs_of(collection, table)
        before = again and again.get((fingerprint(outer(collection, table.schema)), repr(runs)))
        if before:
            return before, None
        data, places = encoded(collection, table, kept(collection, table))
        return _described(collection, table, data, runs, places), data

    with closing(ahead(drafted, tables)) as drafts:
        for segment, data in drafts:
            if data is not None:
                files.write(segment.path, data)
            if again is not None:
                again[segment.schema, repr(segment.runs)] = segment
            yield segment


def is_newest(collection: Collection, table: pa.Table) -> bool:
    """Whether *table* holds the newest rows, of which a few are asked for again and again."""
    return collection.log and table.num_rows <= NEWEST_ROWS


def encoded(collection: Collection, table: pa.Table, kept: Kept) -> tuple[bytes, Places]:
    """*table* as a Parquet file; and where in it is what is *kept*, in front of the footer.

    Readers of Parquet look where the footer tells them to, and so pass over it.
    """
    table = pa.Table.from_arrays(table.columns, schema=outer(collection, table.schema))
    group_rows = _NEWEST_GROUP if is_newest(collection, table) else GROUP_ROWS
    dictionaries = [n for n in table.column_names if _repeats(table.column(n))]
    encodings = {
        field.name: encoding
        for field in table.schema
        if field.name not in dictionaries and (encoding := _encoding(field.type)) is not None
    }
    sink, places = pa.BufferOutputStream(), dict[Group, tuple[int, int]]()
    with pq.ParquetWriter(
        sink, table.schema,
        compression="zstd", compression_level=1,
        use_dictionary=dictionaries, column_encoding=encodings,
        bloom_filter_options=_blooms(collection, table),
    ) as writer:  # fmt: skip
        writer.write_table(table, row_group_size=group_rows)
        for group, hashes in kept.items():
            start = sink.tell()
            sink.write(hashes.to_bytes())
            places[group] = start, sink.tell()
    written: bytes = sink.getvalue().to_pybytes()
    return written, places


def _repeats(values: Any) -> bool:
    """Whether a dictionary is worth it. Never of floats: it would take NaNs for each other."""
    if pa.types.is_floating(values.type):
        return False
    if pa.types.is_integer(values.type) or pa.types.is_timestamp(values.type):
        return False
    sample = values.slice(0, _SAMPLE)
    if pa.types.is_boolean(values.type):
        return False
    return bool(pc.count_distinct(sample, mode="all").as_py() * 8 <= max(len(sample), 8))


def _encoding(type_: Any) -> str | None:
    if pa.types.is_integer(type_) or pa.types.is_timestamp(type_):
        return "DELTA_BINARY_PACKED"
    if pa.types.is_string(type_):
        return "DELTA_BYTE_ARRAY"
    return None


def _blooms(collection: Collection, table: pa.Table) -> dict[str, Any] | None:
    """For readers other than us: we know the identities of a segment by their hashes."""
    names = [n for n in collection.identity if pa.types.is_string(table.schema.field(n).type)]
    rows = min(table.num_rows, GROUP_ROWS)
    return {name: {"ndv": rows, "fpp": 0.01} for name in names} or None


def _described(
    collection: Collection, table: pa.Table, data: bytes, runs: dict[Key, Run], places: Places
) -> Segment:
    path = f"{FOLDER}/{collection.name}/{uuid.uuid4().hex}.parquet"
    metadata = pq.read_metadata(pa.BufferReader(data))
    return Segment(
        path,
        len(data),
        sha256(data).hexdigest(),
        table.num_rows,
        fingerprint(outer(collection, table.schema)),
        runs,
        bounds_of(collection, table, metadata),
        tuple(_pieces(path, data, metadata)),
        {group: _piece(data, *ends) for group, ends in places.items()},
    )


def fingerprint(schema: pa.Schema) -> str:
    """What tells the columns of two files apart."""
    text = ";".join(f"{field.name}:{field.type}" for field in schema)
    return sha256(text.encode()).hexdigest()[:16]


def _pieces(path: str, data: bytes, metadata: Any) -> Iterator[Piece]:
    footer = len(data) - _TAIL - int.from_bytes(data[-_TAIL:-4], "little")
    for group in range(metadata.num_row_groups):
        start, end = _extent(path, metadata.row_group(group))
        yield _piece(data, start, end)
    yield _piece(data, footer, len(data))


def _piece(data: bytes, start: int, end: int) -> Piece:
    return Piece(start, end - start, sha256(memoryview(data)[start:end]).hexdigest())


def _extent(path: str, group: Any) -> tuple[int, int]:
    """Where the bytes of a row group begin and end."""
    columns = [group.column(n) for n in range(group.num_columns)]
    if not columns:
        raise damaged(path, "it has no columns")
    start, end = 1 << 62, 0
    for column in columns:
        first = column.data_page_offset
        if column.has_dictionary_page and column.dictionary_page_offset is not None:
            first = min(first, column.dictionary_page_offset)
        start, end = min(start, first), max(end, first + column.total_compressed_size)
    return start, end


def runs_of(collection: Collection, table: pa.Table) -> dict[Key, Run]:
    """The streams in *table*."""
    names = collection.stream
    stamp = table.column(len(collection.columns))
    keys = [canonical(collection.column(n).kind, table.column(n)) for n in names]
    if table.num_rows and all(map(is_constant, keys)):
        ends = pc.min_max(stamp)
        run = Run(ends["min"].as_py(), ends["max"].as_py(), table.num_rows)
        return {tuple(values[0].as_py() for values in keys): run}
    grouped = pa.Table.from_arrays([*keys, stamp], names=[*map(str, range(len(keys))), "r"])
    by = [str(n) for n in range(len(keys))]
    found = grouped.group_by(by).aggregate([("r", "min"), ("r", "max"), ("r", "count")])
    streams = zip(*[found.column(n).to_pylist() for n in by], strict=True) if by else [()]
    runs = zip(*[found.column(f"r_{f}").to_pylist() for f in ("min", "max", "count")], strict=True)
    return {stream: Run(*run) for stream, run in sorted(zip(streams, runs, strict=True), key=repr)}
