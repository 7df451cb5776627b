"""Whole segments as Arrow: the same rows before and after compaction, and nothing not proved."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pyarrow as pa
import pytest

import quantkeep
from quantkeep import Corrupt, Query, Record, Where, field, record
from quantkeep_backends.parquet import (
    _bulk,
    _compaction,
    _footer,
    _packed,
    _reader,
    _segments,
    _units,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 700


@record(
    "scanned",
    log=True,
    stream=("account", "mode"),
    identity=("uid",),
    indexes=[("symbol", "at")],
)
class Scanned(Record):
    account: str = "default"
    mode: Literal["paper", "live"] = "paper"
    uid: str
    symbol: str | None = field(default=None, index=True)
    at: datetime = field(index=True)
    reason: str | None = None
    only: str = "the same in every row"
    missing: str | None = None
    never: float | None = None
    integer: int | None = None
    real: float | None = None
    decimal: Decimal | None = None
    flag: bool | None = None
    day: date | None = None
    token: UUID | None = None
    blob: bytes | None = None
    document: Any = None


def scanned(number: int, mode: Literal["paper", "live"] = "paper") -> Scanned:
    """Times go back and forth, so no order of segments is that of revisions."""
    some = number % 3 != 1
    return Scanned(
        mode=mode,
        uid=f"{mode}-{number}",
        symbol=(None, "B", "A", "é", "")[number % 5],
        at=START + timedelta(minutes=number * 7919 % 4000),
        reason=("breakout", None, "a text of its own " + str(number))[number % 3],
        missing="only in the last rows" if number > ROWS - 30 else None,
        integer=number * 31 if some else None,
        real=(0.0, -0.0, float("nan"), None, number / 7)[number % 5],
        decimal=Decimal(number) / 8 if some else None,
        flag=(None, True, False)[number % 3],
        day=date(2026, 1, 1) + timedelta(days=number) if some else None,
        token=UUID(int=number) if some else None,
        blob=(b"", None, b"\x00\xff")[number % 3],
        document={"n": [number % 4, "x"]} if some else None,
    )


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of eight row groups, of few rows."""
    monkeypatch.setattr(_bulk, "LARGE", 50)
    monkeypatch.setattr(_segments, "GROUP_ROWS", 32)
    for module in (_segments, _compaction):
        monkeypatch.setattr(module, "SEGMENT_ROWS", 256)
    for module in (_segments, _compaction, _units):
        monkeypatch.setattr(module, "NEWEST_ROWS", 16)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"parquet:///{tmp_path}/k"


@pytest.fixture
def keep(url: str) -> Iterator[quantkeep.Keep]:
    with quantkeep.open({"tape": url}, records=(Scanned,)) as keep:
        yield keep


def append(keep: quantkeep.Keep, first: int = 0, last: int = ROWS) -> None:
    """Rows of one stream, behind them some of two."""
    trades = keep.table(Scanned)
    for start in range(first, last, 140):
        numbers = range(start, min(start + 140, last))
        keep.commit(trades.append([scanned(n) for n in numbers]))
        if start >= 400:
            keep.commit(trades.append([scanned(n, "live") for n in numbers]))


def read(keep: quantkeep.Keep, query: Query | None = None) -> pa.Table:
    found = keep.table(Scanned).arrow(query, batch_rows=100)
    batches = [*found]
    assert all(0 < batch.num_rows <= 100 for batch in batches)
    return pa.Table.from_batches(batches, schema=found.schema)


def records(keep: quantkeep.Keep, query: Query) -> str:
    return repr(
        keep.table(Scanned).list(
            *query.where, order=query.order, limit=query.limit, take=query.take
        )
    )


def same(found: pa.Table, wanted: pa.Table) -> None:
    """Also where NaNs, negative zeros and nulls are."""
    found.validate(full=True)
    assert found.schema.equals(wanted.schema, check_metadata=True)
    assert repr(found.to_pylist()) == repr(wanted.to_pylist())


QUERIES = [
    Query(),
    Query(where=(Where("mode", "==", "paper"),)),
    Query(where=(Where("mode", "!=", "live"), Where("account", "==", "default"))),
    Query(where=(Where("mode", "in", ("live",)),)),
    Query(where=(Where("at", ">=", START), Where("at", "<", START + timedelta(days=9)))),
    Query(where=(Where("at", ">", START + timedelta(days=1)),)),
    Query(where=(Where("symbol", "==", None),)),
    Query(where=(Where("symbol", ">=", ""),)),
    Query(where=(Where("revision", "<=", 300),)),
    Query(order=("-revision",)),
    Query(order=("symbol", "-at")),
    Query(order=("real", "reason")),
    Query(order=("only", "missing", "day")),
    Query(order=("-created_at",)),
    Query(order=("at",), limit=130),
    Query(order=("at",), limit=130, take="last"),
]


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("query", QUERIES, ids=repr)
def test_compacted_rows_are_read_as_they_were_before(keep: quantkeep.Keep, query: Query) -> None:
    append(keep)
    before, rows = read(keep, query), records(keep, query)
    keep.backend.compact()
    same(read(keep, query), before)
    assert records(keep, query) == rows
    append(keep, ROWS, ROWS + 200)
    keep.commit(keep.table(Scanned).append([scanned(5_000)]))  # in no segment
    young = read(keep, query)
    keep.backend.compact()
    same(read(keep, query), young)


def test_rows_that_were_deleted_are_left_out(keep: quantkeep.Keep) -> None:
    append(keep)
    keep.backend.compact()
    everything = read(keep)
    for revision in (1, 100, ROWS):
        keep.commit(keep.table(Scanned).delete("default", "paper", revision))
    gone = {("paper", 1), ("paper", 100), ("paper", ROWS)}
    left = [(row["mode"], row["revision"]) not in gone for row in everything.to_pylist()]
    assert left.count(False) == 3
    for _ in range(2):
        same(read(keep), everything.filter(pa.array(left)))
        keep.backend.compact()


def test_columns_that_came_later_are_null_in_older_segments(url: str) -> None:
    @record("scanned", log=True, stream=("account", "mode"), identity=("uid",))
    class Older(Record):
        account: str = "default"
        mode: Literal["paper", "live"] = "paper"
        uid: str
        at: datetime = field(index=True)

    with quantkeep.open({"tape": url}, records=(Older,)) as keep:
        older = [Older(uid=f"{n}", at=scanned(n).at) for n in range(ROWS)]
        keep.commit(keep.table(Older).append(older))
        keep.backend.compact()

    @record("scanned", log=True, stream=("account", "mode"), identity=("uid",))
    class Newer(Older):
        symbol: str | None = None
        number: int | None = None

    with quantkeep.open({"tape": url}, records=(Newer,)) as keep:
        numbers = keep.table(Newer)
        for n in range(2):
            found = numbers.arrow().read_all()
            assert found["symbol"].to_pylist() == [None] * ROWS + ["A"] * 60 * n
            assert found["number"].to_pylist() == [None] * ROWS + [*range(60)] * n
            assert found["uid"].to_pylist()[:ROWS] == [each.uid for each in older]
            made = [Newer(uid=f"+{m}", at=START, symbol="A", number=m) for m in range(60)]
            keep.commit(numbers.append(made))
        keep.backend.compact()
        assert numbers.arrow().read_all().equals(found)


def test_a_segment_too_large_to_be_read_at_once_is_read_in_parts(
    keep: quantkeep.Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(keep)
    keep.backend.compact()
    at_once = read(keep)
    monkeypatch.setattr(_reader, "_AT_ONCE", 1)
    monkeypatch.setattr(_packed, "_SHARED", 10)
    same(read(keep), at_once)


def test_each_byte_that_is_decoded_was_proved_before(
    keep: quantkeep.Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bit of any row group, in a segment that is read whole."""
    append(keep)
    keep.backend.compact()
    segment = next(s for s in segments(keep) if s.rows > 100)
    decoded, inner = set[tuple[str, int]](), _footer.Footer.decoded

    def noted(self: Any, source: Any, numbers: Any, columns: Any = None) -> pa.Table:
        decoded.update((Path(self._path).name, number) for number in numbers)
        return inner(self, source, numbers, columns)

    monkeypatch.setattr(_footer.Footer, "decoded", noted)
    path = tmp_path / "k" / segment.path
    sound = path.read_bytes()
    for number, piece in enumerate(segment.pieces[:-1]):
        for content in (turned(sound, piece.start + piece.length // 2), sound[: piece.start]):
            path.write_bytes(content)
            decoded.clear()
            with pytest.raises(Corrupt, match=path.name):
                keep.table(Scanned).arrow().read_all()
            assert (path.name, number) not in decoded
    path.unlink()
    with pytest.raises(Corrupt, match=path.name):
        keep.table(Scanned).arrow().read_all()
    path.write_bytes(sound)
    assert keep.table(Scanned).arrow().read_all().num_rows == ROWS + 280


def turned(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def segments(keep: quantkeep.Keep) -> tuple[_segments.Segment, ...]:
    engine: Any = keep.backend.engine
    found: tuple[_segments.Segment, ...] = engine._replica.state.tables.logs["scanned"].segments
    return found


def test_columns_that_nobody_sees_are_not_decoded(
    keep: quantkeep.Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(keep)
    keep.backend.compact()
    names, inner = set[str](), _footer.Footer._read

    def noted(self: Any, source: Any, numbers: Any, read: Any) -> pa.Table:
        if self._segment.rows > 16:  # others are at hand for other questions
            names.update(read)
        return inner(self, source, numbers, read)

    monkeypatch.setattr(_footer.Footer, "_read", noted)
    assert read(keep).num_rows == ROWS + 280
    shown = {*Scanned.collection.names, "_revision"}
    assert {"uid", "missing", "_revision"} <= names <= shown
    assert "never" not in names, "it is null in all rows"
