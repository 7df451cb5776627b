"""The commit log: one winner, no gap, no other history, nothing written into the past."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import quantkeep
from quantkeep import NotFound
from quantkeep.errors import (
    Busy,
    FormatTooNew,
    InvalidUrl,
    PermissionDenied,
    Regression,
    Unavailable,
)
from quantkeep_backends._files import log, proving
from quantkeep_backends._files.local import LocalFiles
from quantkeep_backends.parquet import _blobs, _manifest
from quantkeep_conformance.records import KIT_RECORDS, Entry

RACER = """
import sys
from contextlib import nullcontext
from pathlib import Path
from quantkeep_backends._files.local import LocalFiles
files, won = LocalFiles(Path(sys.argv[1])), 0
print("ready", flush=True)
sys.stdin.readline()
print(sum(files.create(f"race/{n}", sys.argv[2].encode()) for n in range(200)))
"""


def opened(path: Path, **asked: object) -> quantkeep.Keep:
    target = {"tape": f"parquet:///{path}?patience=5"}
    return quantkeep.open(target, records=KIT_RECORDS, **asked)  # type: ignore[arg-type]


def append(keep: quantkeep.Keep, *numbers: int) -> quantkeep.Receipt:
    entries = keep.table(Entry)
    return keep.commit(entries.append([Entry(number=n, uid=f"{n}") for n in numbers]))


def numbers(keep: quantkeep.Keep) -> list[int]:
    return [entry.number for entry in keep.table(Entry).list()]


def commits(path: Path) -> list[Path]:
    return sorted((path / "_log").glob("*.json"))


def test_of_processes_that_create_the_same_file_one_wins(
    tmp_path: Path, program: Callable[..., Any]
) -> None:
    """GUARANTEES case 18."""
    racers = [program(RACER, tmp_path, n) for n in range(3)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    wins = [int(racer.communicate()[0]) for racer in racers]
    assert sum(wins) == 200
    assert not [*(tmp_path / "race").glob(".*")], "something was left behind"


def test_two_handles_see_and_follow_each_other(tmp_path: Path) -> None:
    with opened(tmp_path / "k") as one, opened(tmp_path / "k") as other:
        for number in range(0, 6, 2):
            assert append(one, number).revision == number + 1
            assert append(other, number + 1).revision == number + 2
        assert numbers(one) == numbers(other) == [*range(6)]


def test_a_commit_of_another_history_is_a_regression(tmp_path: Path) -> None:
    with opened(tmp_path / "k") as keep, opened(tmp_path / "k") as reader:
        append(keep, 1)
        assert numbers(reader) == [1]
        with opened(tmp_path / "other") as other:
            append(other, 1)
            append(other, 2)
        foreign = commits(tmp_path / "other")[-1]
        shutil.copyfile(foreign, tmp_path / "k" / "_log" / foreign.name)
        with pytest.raises(Regression):
            numbers(reader)


def test_an_older_backup_under_a_live_handle_is_noticed(tmp_path: Path) -> None:
    """GUARANTEES case 30, before and after a compaction."""
    for compacted in (False, True):
        path = tmp_path / f"k{compacted}"
        with opened(path) as keep:
            append(keep, 1)
            shutil.copytree(path, tmp_path / f"backup{compacted}")
            append(keep, 2)
            if compacted:
                keep.backend.compact()
            shutil.rmtree(path)
            shutil.copytree(tmp_path / f"backup{compacted}", path)
            with pytest.raises(Regression):
                append(keep, 3)
            with pytest.raises(Regression):
                numbers(keep)


def test_an_older_backup_is_noticed_also_behind_a_reading_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "k"

    def fails(_: LocalFiles, folder: str, after: str = "") -> Iterator[Any]:
        raise Unavailable(f"{folder} {after}")

    with opened(path) as keep:
        append(keep, 1)
        shutil.copytree(path, tmp_path / "backup")
        append(keep, 2)
        shutil.rmtree(path)
        shutil.copytree(tmp_path / "backup", path)
        with monkeypatch.context() as patch:
            patch.setattr(LocalFiles, "entries", fails)
            with pytest.raises(Unavailable):
                numbers(keep)
        with pytest.raises(Regression):
            numbers(keep)


def test_a_writer_that_slept_through_a_compaction_does_not_write_into_the_past(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has seen that it is at the head; then others go on, and clear the log away behind it."""
    path, create = tmp_path / "k", LocalFiles.create
    with opened(path) as sleeper, opened(path) as other:
        append(sleeper, 1)

        def sleep(self: LocalFiles, name: str, data: bytes) -> bool:
            monkeypatch.setattr(LocalFiles, "create", create)
            monkeypatch.setattr(LocalFiles, "turn", lambda *_, **_how: nullcontext(False))
            for number in (2, 3):
                append(other, number)
            other.backend.compact()
            other.backend.remove_garbage(other.backend.now() + 1)
            assert len(commits(path)) == 2
            return create(self, name, data)

        monkeypatch.setattr(LocalFiles, "create", sleep)
        append(sleeper, 4)
        assert numbers(sleeper) == numbers(other) == [1, 2, 3, 4]
    with opened(path) as keep:
        assert numbers(keep) == [1, 2, 3, 4]
    assert [log.number_of(f"_log/{p.name}") for p in commits(path)] == [5, 6, 7]


def test_opening_reads_only_the_manifest_and_what_is_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, read = tmp_path / "k", LocalFiles.read
    with opened(path) as keep:
        for number in range(60):
            append(keep, number)
        keep.backend.compact()
        append(keep, 60)
    names: list[str] = []

    def noted(self: LocalFiles, name: str) -> bytes | None:
        names.append(name)
        return read(self, name)

    monkeypatch.setattr(LocalFiles, "read", noted)
    opened(path).close()
    assert len(set(names)) <= 6, names
    monkeypatch.setattr(LocalFiles, "read", read)
    with opened(path) as keep:
        assert numbers(keep) == [*range(61)]
        assert append(keep, 7).added == 0


def test_any_state_whose_files_are_there_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "k"
    with opened(path) as keep:
        for number in range(8):
            append(keep, number)
            if number == 4:
                keep.backend.compact()
    for commit, count in ((3, 1), (6, 4), (7, 5), (9, 6), (11, 8)):
        url = f"parquet:///{path}?until={commit}"
        with quantkeep.open({"tape": url}, records=KIT_RECORDS, read_only=True) as past:
            assert past.table(Entry).count() == count
    with pytest.raises(quantkeep.NotFound, match="no commit 12"):
        quantkeep.open({"tape": f"parquet:///{path}?until=12"}, records=KIT_RECORDS, read_only=True)
    with pytest.raises(InvalidUrl, match="read_only"):
        quantkeep.open({"tape": f"parquet:///{path}?until=3"}, records=KIT_RECORDS)


def test_a_heading_proves_itself() -> None:
    _, data = proving.written({"number": 7, "previous": "p"}, {"trades": [["paper"]]})
    head, _, _ = data.partition(b"\n")
    lost = proving.salvaged(head, 7, None)
    assert lost is not None
    assert lost.touched == {"trades": [["paper"]]}
    assert proving.salvaged(head, 8, None) is None, "it is that of another commit"
    for place in range(len(head)):
        flipped = head[:place] + bytes([head[place] ^ 1]) + head[place + 1 :]
        assert proving.salvaged(flipped, 7, None) is None


# -- places that are no keep -----------------------------------------------------------------------


def test_a_file_or_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    for name, why in (("file", "is a file"), ("full", "other files"), ("file/below", "is a file")):
        with pytest.raises(InvalidUrl, match=why):
            opened(tmp_path / name)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "x"
    with pytest.raises(NotFound):
        opened(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    opened(tmp_path / "k").close()
    (tmp_path / "link").symlink_to(tmp_path / "k")
    with pytest.raises(PermissionDenied, match="symbolic link"):
        opened(tmp_path / "link")
    (tmp_path / "k" / "segments").symlink_to(tmp_path)
    with pytest.raises(PermissionDenied, match="symbolic link"):
        opened(tmp_path / "k")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "k") as keep:
        append(keep, 1)
        keep.backend.compact()
    pointer = tmp_path / "k" / "current.json"
    pointer.write_text(json.dumps({**json.loads(pointer.read_text()), "format": 2}))
    with pytest.raises(FormatTooNew, match="upgrade"):
        opened(tmp_path / "k")


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidUrl, match="pateince"):
        quantkeep.open(f"parquet:///{tmp_path}/k?pateince=3")


def test_a_local_current_is_not_replaced_without_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds it may have stopped anywhere; to go on beside him could set it back."""
    held, files = LocalFiles(tmp_path), LocalFiles(tmp_path)
    manifest = _manifest.Manifest(1, "p", "i", None, {})
    reference = _manifest.write(files, manifest)
    _blobs.put(files, "ab" * 32, b"bytes")
    monkeypatch.setattr(_manifest, "_PATIENCE", 0.05)
    monkeypatch.setattr(_blobs, "_PATIENCE", 0.05)
    with held.turn(1.0):
        with pytest.raises(Busy):
            _manifest.publish(files, manifest, reference)
        with pytest.raises(Busy):
            _blobs.put(files, "ab" * 32, b"bytes")
        with pytest.raises(Busy):
            _blobs.delete(files, "ab" * 32, None)
    assert _manifest.current(files) is None
    _manifest.publish(files, manifest, reference)
    assert _manifest.current(files) == reference
    assert _blobs.read(files, "ab" * 32) == b"bytes"
    held.close()
    files.close()


def test_the_threads_of_a_handle_take_turns(tmp_path: Path) -> None:
    """The lock of the folder is the handle's: by itself it lets all its threads in."""
    files, got = LocalFiles(tmp_path), list[bool]()

    def other() -> None:
        with files.turn(0.05) as ours:
            got.append(ours)

    with files.turn(1.0):
        thread = Thread(target=other)
        thread.start()
        thread.join()
    assert got == [False]
    other()
    assert got == [False, True]
    files.close()
