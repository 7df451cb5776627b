"""A JSON keep stays small by itself, beside whoever uses it; and what is over can be removed."""

import logging

import pytest

import quantkeep
from quantkeep import Corrupt, Record, record
from quantkeep.cli import main
from quantkeep.errors import InvalidUrl, StoreFull, WriterPoisoned
from quantkeep.hookspecs import Opening
from quantkeep_backends.json import JsonBackend
from quantkeep_conformance.running import run

LATER = 2**62  # microseconds


@pytest.fixture
def small(keep, does):
    """A handle that compacts whenever the journal is over 2,000 bytes."""
    handle = JsonBackend(keep.path, Opening(), 10.0, 2_000)
    keep.handles.append(handle)
    keep.open()
    return handle


def generation(handle):
    return handle.health().facts["generation"]


def test_a_journal_does_not_grow_for_ever(small, keep, does):
    before = generation(small)
    for n in range(200):
        does.append(small, n)
    assert before + 2 < generation(small) < before + 12
    assert keep.journal.stat().st_size < 2_000 + keep.records("entries").stat().st_size + 500
    assert does.numbers(keep.open()) == [*range(200)]


def test_each_byte_is_rewritten_a_few_times_at_most(small, does):
    for n in range(100):
        does.append(small, n)
    first = generation(small)
    for n in range(100, 200):
        does.append(small, n)
    assert generation(small) - first <= 3


def test_other_handles_follow(small, keep, does):
    writer, reader = keep.open(), keep.open(read_only=True)
    for n in range(60):
        does.append(small if n % 2 else writer, n)
        assert does.numbers(reader)[-1] == n
    assert generation(reader) == generation(small)


def test_it_can_be_turned_off(tmp_path):
    with quantkeep.open(f"json:///{tmp_path}/keep?compact_above=0") as keep:
        before = keep.backend.health().facts["generation"]
        for n in range(50):
            keep.backend.put_blob(f"{n:064x}", b"x")
        assert keep.backend.health().facts["generation"] == before
    with pytest.raises(InvalidUrl, match="compact_above"):
        quantkeep.open(f"json:///{tmp_path}/keep?compact_above=-1")


@pytest.mark.parametrize("step", ["json.compact.collection", "json.compact.heading"])
def test_a_commit_does_not_fail_because_compaction_does(small, keep, does, disarmed, caplog, step):
    disarmed(f"{step}=ENOSPC")
    with caplog.at_level(logging.WARNING, "quantkeep.json"):
        for n in range(40):
            does.append(small, n)
    assert any("is not compacted" in record.getMessage() for record in caplog.records)
    disarmed("")
    assert does.numbers(small) == does.numbers(keep.open()) == [*range(40)]


def test_faults_at_every_step_of_commits_that_compact(tmp_path):
    """Kills, full disks and EIO, as the kit makes them."""
    report = run(
        f"json:///{tmp_path}/kit?compact_above=3000",
        seed=5,
        select="every_failpoint or faults",
    )
    assert report.conforms, report.to_json()


@pytest.mark.parametrize("step", ["collection", "journal", "heading"])
def test_a_compaction_that_found_no_room_leaves_nothing(keep, does, disarmed, step):
    handle = keep.open()
    does.append(handle, 0)
    before = {path.name for path in keep.files()}
    disarmed(f"json.compact.{step}=ENOSPC")
    with pytest.raises(StoreFull):
        handle.compact()
    assert {path.name for path in keep.files()} == before
    assert [*handle.scrub()] == []


def test_a_collection_may_have_the_name_of_any_file(tmp_path):
    @record("operations", key=("name",))
    class Operation(Record):
        name: str

    for _ in range(2):
        with quantkeep.open(f"json:///{tmp_path}/keep", records=[Operation]) as keep:
            operations = keep.table(Operation)
            keep.commit(operations.put(Operation(name="a")), op_id="op")
            keep.backend.compact()
            assert [one.name for one in operations.list()] == ["a"]
            assert keep.backend.outcome("op") is not None


# -- garbage and scrubbing -------------------------------------------------------------------------


def test_the_old_generation_is_garbage_after_a_while(small, keep, does):
    does.append(small, 1)
    small.compact()
    (old, journal) = sorted(small.garbage(LATER), key=lambda found: found.name, reverse=True)
    assert (old.name, journal.name) == ("records-00000002", "journal-00000002.jsonl")
    assert {old.why, journal.why} == {"replaced by compaction"}
    assert old.size > 0
    assert small.garbage(old.since) == small.remove_garbage(old.since) == []
    assert {found.name for found in small.remove_garbage(LATER)} == {old.name, journal.name}
    assert small.garbage(LATER) == []
    assert does.numbers(keep.open()) == [1]


def test_what_a_crash_left_is_garbage(small, keep):
    (keep.path / "records-00000009").mkdir()
    (keep.path / f".keep.json.{'0' * 16}.tmp").write_bytes(b"half")
    left = {found.name for found in small.remove_garbage(LATER) if found.why == "left by a crash"}
    assert left == {"records-00000009", f".keep.json.{'0' * 16}.tmp"}
    assert small.check() == []


@pytest.mark.parametrize("pattern", ["records-00000003/entries.jsonl", "blobs/??/*"])
def test_scrubbing_reads_what_no_query_touches(small, keep, does, pattern):
    does.append(small, 1)
    small.put_blob("0" * 64, b"these are not its bytes")
    (blob,) = keep.path.glob("blobs/??/*")
    small.compact()
    small.compact()
    found = [line for line in small.scrub() if str(blob) not in line]
    assert found == []
    (path,) = keep.path.glob(pattern)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert small.check() == []
    assert any(str(path) in line for line in small.scrub())


def test_the_commands(tmp_path, capsys):
    url = f"json:///{tmp_path}/keep"
    with quantkeep.open(url) as keep:
        keep.backend.put_blob("0" * 64, b"x")
    assert main(["compact", url]) == 0
    assert main(["gc", url, "--older-than", "0s", "--dry-run"]) == 0
    assert "would be removed" in capsys.readouterr().out
    assert main(["gc", url, "--older-than", "0s", "-f", "csv"]) == 0
    assert "1 pieces of blobs" in capsys.readouterr().out
    assert main(["gc", url, "--older-than", "0s"]) == 0
    assert "none" in capsys.readouterr().out
    assert main(["verify", url, "--deep"]) == 0


# -- a handle that cannot be used any more ---------------------------------------------------------


def test_each_call_on_a_poisoned_handle_raises_an_error_of_its_own(small, does, disarmed):
    disarmed("files.sync=EIO")
    with pytest.raises(WriterPoisoned):
        does.append(small, 1)
    errors = []
    for _ in range(2):
        with pytest.raises(WriterPoisoned) as caught:
            does.numbers(small)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert str(errors[0]) == str(errors[1])
    assert errors[0].applied == "unknown"
    assert issubclass(WriterPoisoned, quantkeep.Unavailable)
    assert not isinstance(errors[0], Corrupt)
