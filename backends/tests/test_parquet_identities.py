"""What rows are known by, kept beside them: what is new is told without reading a row."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

import quantkeep
from quantkeep import Keep
from quantkeep.errors import AlreadyExists, Corrupt
from quantkeep.tape import Trade
from quantkeep_backends.parquet import _bulk, _compaction, _segments
from quantkeep_backends.parquet._reader import Reader
from quantkeep_backends.parquet._segments import Segment

START = datetime(2026, 1, 19, tzinfo=UTC)
UID = ("", "uid")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows are several segments."""
    monkeypatch.setattr(_bulk, "LARGE", 10)
    monkeypatch.setattr(_segments, "GROUP_ROWS", 10)
    for module in (_segments, _compaction):
        monkeypatch.setattr(module, "SEGMENT_ROWS", 30)
        monkeypatch.setattr(module, "NEWEST_ROWS", 10)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"parquet:///{tmp_path}/keep"


def trade(uid: str, number: int = 0, **changes: Any) -> Trade:
    at = START + timedelta(seconds=number)
    given: dict[str, Any] = {
        "mode": "paper", "uid": uid, "timestamp": at, "symbol": f"S{number % 3}",
        "side": "LONG", "action": "OPEN", "qty": 1.0, "fill_price": 5.0,
    }  # fmt: skip
    return Trade(**{**given, **changes})


def shuffled(count: int) -> list[Trade]:
    uids = [f"{n:05}" for n in range(count)]
    random.Random(5).shuffle(uids)
    return [trade(uid, number) for number, uid in enumerate(uids)]


def compacted(url: str, trades: list[Trade]) -> None:
    with quantkeep.open(url) as keep:
        keep.tape.append(trades)
        keep.backend.compact()


def segments(keep: Keep) -> tuple[Segment, ...]:
    engine: Any = keep.backend.engine  # type: ignore[attr-defined]  # it has one
    found: tuple[Segment, ...] = engine._replica.state.tables.logs["trades"].segments
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The row groups that are read from now on."""
    groups: list[tuple[str, int]] = []
    inner = Reader._read

    def noted(self: Reader, segment: Segment, number: int, columns: Any) -> Any:
        groups.append((segment.path, number))
        return inner(self, segment, number, columns)

    monkeypatch.setattr(Reader, "_read", noted)
    return groups


@pytest.mark.parametrize("portion", [1, 9, 100])
def test_what_is_new_is_told_without_reading_a_row(
    url: str, read: list[tuple[str, int]], portion: int
) -> None:
    compacted(url, shuffled(100))
    read.clear()
    with quantkeep.open(url) as keep:
        assert len(segments(keep)) >= 4
        fresh = [trade(f"{n:05}x", n) for n in range(100)]
        keep.tape.append(fresh[:portion])
        assert not read
        assert keep.table(Trade).count() == 100 + portion


def test_what_is_there_is_found_by_reading_it(url: str, read: list[tuple[str, int]]) -> None:
    trades = shuffled(100)
    compacted(url, trades)
    read.clear()
    with quantkeep.open(url) as keep:
        assert keep.tape.append(trades[7]).outcomes[0].added == 0
        assert read
        with pytest.raises(AlreadyExists, match=trades[9].uid):
            keep.tape.append(trade(str(trades[9].uid), 9, qty=2.0))
        assert keep.tape.append([*trades, trade("new", 500)]).outcomes[0].added == 1


def test_a_deleted_one_can_come_again(url: str) -> None:
    trades = shuffled(100)
    compacted(url, trades)
    with quantkeep.open(url) as keep:
        table = keep.table(Trade)
        held = table.list()[40]
        keep.commit(table.delete(held.account, held.mode, held.revision))
        assert keep.tape.append(trade(str(held.uid), 40, qty=2.0)).outcomes[0].added == 1
        keep.backend.compact()
        with pytest.raises(AlreadyExists):
            keep.tape.append(trade(str(held.uid), 40))


def test_none_are_kept_of_identifiers_that_ascend(url: str) -> None:
    """Their bounds tell as much, in eight bytes a row less."""
    compacted(url, [trade(f"{n:05}", n) for n in range(100)])
    with quantkeep.open(url) as keep:
        assert [segment.hashes for segment in segments(keep)] == [{}] * len(segments(keep))
        with pytest.raises(AlreadyExists):
            keep.tape.append(trade("00050", 9))


def test_segments_of_older_keeps_have_none(url: str) -> None:
    compacted(url, shuffled(100))
    with quantkeep.open(url) as keep:
        said = [segment.said() for segment in segments(keep)]
    for each in said:
        again = Segment.heard(each)
        assert again.said() == each
        assert again.hashes
        del each["hashes"]
        assert Segment.heard(each) == attrs.evolve(again, hashes={})


def test_others_read_the_files_as_if_there_were_none(url: str, tmp_path: Path) -> None:
    compacted(url, shuffled(100))
    with quantkeep.open(url) as keep:
        assert all(segment.hashes for segment in segments(keep))
        paths = [f"{tmp_path}/keep/{segment.path}" for segment in segments(keep)]
        wanted = sorted(str(row.uid) for row in keep.table(Trade).scan())
    readers: list[Callable[[str], list[str]]] = [
        lambda path: pl.read_parquet(path)["uid"].to_list(),
        lambda path: pq.read_table(path, columns=["uid"])["uid"].to_pylist(),
        lambda path: [
            uid for (uid,) in duckdb.sql(f"SELECT uid FROM '{path}'").fetchall()
        ],  # a path of ours
    ]
    for reader in readers:
        assert sorted(uid for path in paths for uid in reader(path)) == wanted


@pytest.fixture
def harmed(url: str, tmp_path: Path) -> Iterator[Path]:
    """The file of a segment; a bit of its hashes is another."""
    compacted(url, shuffled(100))
    with quantkeep.open(url) as keep:
        segment = segments(keep)[1]
    path, piece = tmp_path / "keep" / segment.path, segment.hashes[UID]
    data = bytearray(path.read_bytes())
    data[piece.start + piece.length // 2] ^= 4
    path.write_bytes(data)
    return path


def test_damaged_hashes_are_never_taken_for_an_answer(url: str, harmed: Path) -> None:
    """An append that needs them is refused, and names the file; every row is still there."""
    with quantkeep.open(url) as keep:
        with pytest.raises(Corrupt, match=harmed.name):
            keep.tape.append(trade("00050x", 9))
        assert len(keep.table(Trade).list()) == 100
        assert keep.tape.append(trade("zzz", 900)).outcomes[0].added == 1
        assert any(harmed.name in problem for problem in keep.backend.scrub())
