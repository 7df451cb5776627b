"""Compaction and what it leaves: killed at any step, beside others, and read by other programs."""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import quantkeep
from quantkeep import Corrupt, failpoints
from quantkeep.errors import AlreadyExists
from quantkeep_backends.parquet import _bulk, _compaction, _footer, _reader, _segments
from quantkeep_conformance.records import Entry, Setting

RECORDS = (Entry, Setting)  # every compaction goes through all there are
WORKER = """
import sys, quantkeep
from quantkeep import Corrupt, failpoints
from quantkeep_conformance.records import Entry, Setting
keep = quantkeep.open({"tape": sys.argv[1]}, records=[Entry, Setting])
failpoints.arm(sys.argv[2])
keep.backend.compact()
keep.backend.remove_garbage(keep.backend.now() + 1)
"""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_bulk, "LARGE", 50)
    return tmp_path / "k"


def opened(path: Path) -> quantkeep.Keep:
    return quantkeep.open({"tape": f"parquet:///{path}"}, records=RECORDS)


def append(keep: quantkeep.Keep, *numbers: int, op_id: str | None = None) -> quantkeep.Receipt:
    made = [Entry(number=n, uid=f"{n}", symbol="AB"[n % 2]) for n in numbers]
    return keep.commit(keep.table(Entry).append(made), op_id=op_id)


def numbers(keep: quantkeep.Keep) -> list[int]:
    found = keep.table(Entry).list()
    assert [entry.revision for entry in found] == [*range(1, len(found) + 1)]
    return [entry.number for entry in found]


def filled(path: Path) -> None:
    """Small commits, a large one, a compaction between them, operations and keyed records."""
    with opened(path) as keep:
        append(keep, 0, 1, op_id="first")
        append(keep, *range(2, 100))
        keep.backend.compact()
        keep.commit(keep.table(Setting).put(Setting(owner="a", name="x", value=1)))
        append(keep, *range(100, 180))
        append(keep, 180, op_id="last")


STEPS = ("collection", "manifest", "commit", "publish", "done")
ALL = [
    *(f"parquet.compact.{step}=kill" for step in STEPS),
    *(f"files.replace.{step}=kill@{n}" for step in ("write", "rename", "renamed") for n in (1, 3)),
    "log.commit.create=kill", "log.commit.created=kill", "files.create.link=kill",
    "parquet.garbage.remove=kill@1", "parquet.garbage.remove=kill@4",
]  # fmt: skip


@pytest.mark.requirement("Z-18")
@pytest.mark.parametrize("armed", ALL)
def test_killed_at_any_step_it_loses_and_doubles_nothing(
    path: Path, armed: str, program: Callable[..., Any]
) -> None:
    """GUARANTEES case 11, for compaction and for the removal of what it replaced."""
    filled(path)
    with opened(path) as beside:
        assert numbers(beside) == [*range(181)]
        done = program(WORKER, f"parquet:///{path}", armed)
        assert done.ended() == -9, "the step was not passed"
        assert numbers(beside) == [*range(181)]
    for _ in range(2):
        with opened(path) as keep:
            assert numbers(keep) == [*range(181)]
            assert keep.table(Setting).fetch("a", "x").value == 1
            assert append(keep, 0, 1, op_id="first").replayed
            assert append(keep, 180, op_id="last").replayed
            assert append(keep, *range(150)).added == 0, "an identity was forgotten"
            keep.backend.compact()
            keep.backend.remove_garbage(keep.backend.now() + 1)
    left = Counter(p.relative_to(path).parts[0] for p in path.rglob("*") if p.is_file())
    assert left["_manifest"] == 1
    assert left["_log"] == 2
    assert left["segments"] == 3, "of entries, settings and operations one each"


@pytest.mark.parametrize("action", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("step", STEPS)
def test_one_that_fails_changes_nothing_and_the_handle_goes_on(
    path: Path, step: str, action: str
) -> None:
    filled(path)
    with opened(path) as keep:
        failpoints.arm(f"parquet.compact.{step}={action}")
        with pytest.raises(quantkeep.QuantkeepError):
            keep.backend.compact()
        append(keep, 181)
        assert numbers(keep) == [*range(182)]
        keep.backend.compact()
        assert numbers(keep) == numbers(opened(path)) == [*range(182)]


def test_beside_writers_and_readers_it_loses_nothing(
    path: Path, wait_until: Callable[[Callable[[], bool]], bool]
) -> None:
    stop, errors, done = threading.Event(), list[BaseException](), Counter[str]()

    def until_stopped(what: str, act: Callable[[quantkeep.Keep], object]) -> threading.Thread:
        def run() -> None:
            try:
                with opened(path) as keep:
                    while not stop.is_set():
                        act(keep)
                        done[what] += 1
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def all_went_on(since: Counter[str]) -> bool:
        return bool(errors) or all(done[what] > since[what] for what in ("one", "other", "read"))

    opened(path).close()
    threads = [until_stopped(which, compact_if_one_may) for which in ("one", "other")]
    threads.append(until_stopped("read", numbers))
    with opened(path) as keep:
        for number in range(0, 120, 2):
            append(keep, number)
            append(keep, number + 1)
            if number % 20 == 0:
                before = Counter(done)
                wait_until(lambda: all_went_on(before))  # noqa: B023  # called at once
        append(keep, *range(120, 180))
        stop.set()
        for thread in threads:
            thread.join()
        assert not errors
        assert numbers(keep) == numbers(opened(path)) == [*range(180)]


def compact_if_one_may(keep: quantkeep.Keep) -> None:
    with contextlib.suppress(quantkeep.Busy):  # others were first for half a minute
        keep.backend.compact()


def test_a_running_scan_goes_on_over_files_that_were_replaced(path: Path) -> None:
    filled(path)
    with opened(path) as keep:
        scan = keep.table(Entry).scan()
        first = next(scan)
        append(keep, 181)
        keep.backend.compact()
        keep.backend.remove_garbage(keep.backend.now() - 3_600_000_000)
        assert [first.number, *(entry.number for entry in scan)] == [*range(181)]


def test_what_is_in_use_is_no_garbage(path: Path) -> None:
    filled(path)
    with opened(path) as keep:
        long_ago = keep.backend.now() - 3_600_000_000
        (path / "segments" / "kit_entries" / "orphan.parquet").write_bytes(b"left by a crash")
        assert keep.backend.garbage(long_ago) == []
        names = {found.name for found in keep.backend.garbage(keep.backend.now() + 1)}
        assert "segments/kit_entries/orphan.parquet" in names
        keep.backend.remove_garbage(keep.backend.now() + 1)
        assert numbers(keep) == numbers(opened(path)) == [*range(181)]
        assert [*keep.backend.scrub()] == []


def test_the_identity_check_reads_the_key_column_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    with opened(path) as keep:
        keep.backend.compact()
        append(keep, 5)  # learns
        read, columns = _reader.Reader._read, list[object]()

        def noted(self, segment, number, names):
            columns.append(names)
            return read(self, segment, number, names)

        monkeypatch.setattr(_reader.Reader, "_read", noted)
        for number in range(1_000, 1_020):
            assert append(keep, number).added == 1
        assert columns == []


def test_the_newest_rows_are_in_few_small_row_groups(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compaction, "NEWEST_ROWS", 40)
    monkeypatch.setattr(_segments, "NEWEST_ROWS", 40)
    monkeypatch.setattr(_segments, "_NEWEST_GROUP", 20)
    with opened(path) as keep:
        for first in range(0, 300, 60):
            append(keep, *range(first, first + 60))
            keep.backend.compact()
        assert numbers(keep) == [*range(300)]
        keep.backend.compact()
    read, groups = _reader.Reader._read, list[tuple[str, int]]()

    def noted(self, segment, number, names):
        groups.append((segment.path, number))
        return read(self, segment, number, names)

    monkeypatch.setattr(_reader.Reader, "_read", noted)
    with opened(path) as keep:
        keep.table(Entry).count()
        groups.clear()
        newest = keep.table(Entry).list(order=("revision",), limit=15, take="last")
        assert [entry.number for entry in newest] == [*range(285, 300)]
        assert len(groups) == 1


def test_a_large_append_that_was_made_before_adds_nothing_and_other_content_is_refused(
    path: Path,
) -> None:
    with opened(path) as keep:
        first = append(keep, *range(200))
        keep.backend.compact()
        again = append(keep, *range(100, 300))
        assert (again.added, again.revisions) == (100, tuple(range(101, 301)))
        entries = keep.table(Entry)
        other = [Entry(number=n + 1, uid=f"{n}") for n in range(60)]
        with pytest.raises(AlreadyExists):
            keep.commit(entries.append(other))
        twice = [Entry(number=n % 70, uid=f"new-{n % 70}") for n in range(140)]
        assert keep.commit(entries.append(twice)).added == 70
        assert first.added == 200
        segments = {*(path / "segments" / "kit_entries").iterdir()}
        keep.backend.remove_garbage(keep.backend.now() + 1)
        assert len(segments) >= len({*(path / "segments" / "kit_entries").iterdir()})
        assert keep.table(Entry).count() == 370


def test_a_row_group_that_would_fill_the_memory_is_not_unpacked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GUARANTEES case 38: what the footer claims is looked at first."""
    filled(path)
    with opened(path) as keep:
        keep.backend.compact()
        monkeypatch.setattr(_footer, "GROUP_LIMIT", 10)
        with pytest.raises(Corrupt, match="not unpacked"):
            keep.table(Entry).list()


# -- readers that know nothing of us ---------------------------------------------------------------


def current(path: Path, table: str) -> list[str]:
    pointer = json.loads((path / "current.json").read_text())
    return [str(path / name) for name in pointer["tables"][table]]


def test_duckdb_and_polars_read_what_is_current(path: Path) -> None:
    """With orphans, replaced segments and commits behind the manifest lying there too."""
    filled(path)
    with opened(path) as keep:
        keep.commit(keep.table(Entry).delete("default", "paper", 181))
        keep.backend.compact()
        segment = next((path / "segments" / "kit_entries").iterdir())
        (segment.parent / "0rphan.parquet").write_bytes(segment.read_bytes())
        append(keep, 900)
        append(keep, *range(901, 960))
    files = current(path, "kit_entries")
    by_duckdb = duckdb.sql(f"SELECT number FROM read_parquet({files}) ORDER BY revision").fetchall()
    assert [n for (n,) in by_duckdb] == [*range(180)]
    frame = pl.read_parquet(files).sort("revision")
    assert frame["number"].to_list() == [*range(180)]
    assert frame.schema["created_at"] == pl.Datetime("us", "UTC")
    named = f"SELECT unnest(tables.kit_entries) AS file FROM read_json('{path}/current.json')"
    assert [str(path / name) for (name,) in duckdb.sql(named).fetchall()] == files


def test_duckdb_reads_the_commits_behind_the_manifest(path: Path) -> None:
    filled(path)
    with opened(path) as keep:
        keep.backend.compact()
        append(keep, 181, 182)
        append(keep, 183)
    commit = json.loads((path / "current.json").read_text())["commit"]
    tail = f"""
        SELECT e.revision, e.record.number::BIGINT
        FROM (SELECT number, unnest(effects) AS e FROM read_json('{path}/_log/*.json',
              format='newline_delimited', columns={{number: 'BIGINT',
              effects: 'STRUCT("collection" VARCHAR, revision BIGINT, record JSON)[]'}}))
        WHERE number > {commit} AND e.collection = 'kit_entries' ORDER BY e.revision
    """
    assert duckdb.sql(tail).fetchall() == [(182, 181), (183, 182), (184, 183)]
