"""Snapshots: types, listing, compression, checking, retention."""

import os
import tracemalloc
import zlib
from datetime import timedelta
from hashlib import sha256

import pytest

import quantkeep
from quantkeep import documents
from quantkeep.blobs import BlobRef
from quantkeep.errors import Busy, Corrupt, InvalidQuery, InvalidValue, NotFound, TooLarge
from quantkeep.sessions import SnapshotRecord, snapshots


@pytest.fixture
def session(keep):
    return keep.sessions.start("bot", config={"spread": 4.0}, snapshot_every=None)


def revisions(keep, **asked):
    return [s.revision for s in keep.sessions.snapshots("bot", **asked)]


def take(session, count, kind="periodic"):
    for _ in range(count):
        session["n"] = session.get("n", 0) + 1
        session.loop_count += 1
        session.save(snapshot=kind)


@pytest.mark.requirement("D70-7", "D70-20", api="Session.snapshot")
def test_each_type_of_snapshot_is_kept_with_what_it_holds(keep, session):
    session["positions"] = {"BTC": {"qty": 1.5}}
    for kind in ("periodic", "on_trade", "manual"):
        session.loop_count += 1
        session.snapshot(kind)
    session.stop()
    listed = keep.sessions.snapshots("bot")
    assert [s.snapshot_type for s in listed] == [
        "initial", "periodic", "on_trade", "manual", "on_stop",
    ]  # fmt: skip
    assert [s.loop_count for s in listed] == [0, 1, 2, 3, 3]
    assert [s.status for s in listed] == ["running"] * 4 + ["stopped"]
    assert [s.sections for s in listed] == [0, 1, 1, 1, 1]
    newest = listed[-1]
    assert (newest.session_id, newest.mode, newest.account) == (
        session.session_id,
        "paper",
        "default",
    )
    assert newest.start_time == session.start_time
    assert newest.live_revision == keep.sessions.get("bot").revision
    assert keep.sessions.snapshot("bot", newest.revision).config == {"spread": 4.0}


@pytest.mark.requirement("D70-20", api="Session.save")
def test_a_save_takes_a_periodic_snapshot_when_it_is_time(keep):
    session = keep.sessions.start("bot", snapshot_every=60)
    session.save()
    assert revisions(keep) == [1]
    session._saver.snapshot_at -= 61
    session.save()
    assert [s.snapshot_type for s in keep.sessions.snapshots("bot")] == ["initial", "periodic"]
    session.save()
    assert revisions(keep) == [1, 2]
    session.snapshot_every = 0
    session.save()
    assert revisions(keep) == [1, 2, 3]


def test_a_type_that_does_not_exist_is_refused(keep, session):
    with pytest.raises(InvalidValue, match="on_trade"):
        session.save(snapshot="hourly")
    session.save()
    assert revisions(keep) == [1]


def test_types_can_be_added():
    with quantkeep.open("memory://", choices={"session_snapshots.snapshot_type": ["eod"]}) as keep:
        session = keep.sessions.start("bot")
        session.save(snapshot="eod")
        assert keep.sessions.snapshots("bot", type="eod")[0].revision == 2


@pytest.mark.requirement("D70-14", "D70-11", "Z-38", api="SessionStore.snapshots")
def test_listing_the_newest_first_chosen_then_in_order(keep, session):
    take(session, 5)
    take(session, 2, "on_trade")
    assert revisions(keep) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert revisions(keep, limit=2) == [7, 8]
    assert revisions(keep, limit=None) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert revisions(keep, type="on_trade") == [7, 8]
    assert revisions(keep, type="periodic", limit=1) == [6]
    third = keep.sessions.snapshots("bot")[2].envelope.created_at
    assert revisions(keep, since=third)[-6:] == [3, 4, 5, 6, 7, 8]
    other = keep.sessions.start("other")
    latest = keep.sessions.latest_snapshots()
    assert {i: s.revision for i, s in latest.items()} == {
        session.session_id: 8,
        other.session_id: 1,
    }
    with pytest.raises(NotFound):
        keep.sessions.snapshots("nobody")
    with pytest.raises(NotFound):
        keep.sessions.snapshot("bot", 99)


@pytest.mark.requirement("D70-31", api="Session.snapshot")
def test_a_snapshot_is_compressed_and_has_its_own_checksum(keep, session):
    session["positions"] = {
        f"S{i}": {"symbol": f"S{i}/USDT", "qty": 1.5, "$x": 1} for i in range(300)
    }
    session["odd"] = [float("nan"), {"é": "\u2028"}]
    session.save(snapshot="manual")
    record = keep.sessions.snapshots("bot")[-1]
    content = zlib.decompress(record.body)
    assert len(record.body) == record.stored_bytes < record.body_bytes / 4
    assert len(content) == record.body_bytes
    assert sha256(content).digest() == record.body_sha256
    whole = {"config": session.config, "sections": session.plain()}
    assert content.decode() == documents.encode(whole, keep.hosts)


@pytest.mark.requirement("Z-7", "D70-31", api="Session.snapshot")
def test_a_large_snapshot_is_a_blob(keep, session):
    noise = {f"k{i}": os.urandom(1000) for i in range(400)}
    session["noise"] = noise
    session.save(snapshot="manual")
    record = keep.sessions.snapshots("bot")[-1]
    assert record.body is None
    assert record.stored_bytes > snapshots.INLINE_BYTES
    assert keep.sessions.snapshot("bot", record.revision).sections == {"noise": noise}
    session.stop()
    assert keep.sessions.resume("bot", at=record.revision)["noise"] == noise
    ref = BlobRef.from_document(record.blob)
    keep.backend.delete_blob(ref.chunks[0])
    with pytest.raises(Corrupt, match="is missing"):
        keep.sessions.snapshot("bot", record.revision)
    assert {p.revision for p in keep.sessions.verify("bot")} >= {record.revision}


@pytest.mark.requirement("D70-38", "D70-14", api="SessionStore.verify")
@pytest.mark.parametrize(
    "column", ["body", "body_sha256", "body_bytes", "loop_count", "snapshot_type", "watermarks"]
)
def test_every_damaged_column_of_a_snapshot_is_found(keep, session, column):
    take(session, 2)
    collection = keep.table(SnapshotRecord).collection
    keep.backend.backdoor().flip(collection, (session.session_id, 2), column)
    with pytest.raises(Corrupt):
        keep.sessions.snapshot("bot", 2)
    (problem,) = keep.sessions.verify("bot")
    assert (problem.what, problem.revision) == ("snapshot", 2)
    assert keep.sessions.snapshot("bot", 3).sections == {"n": 2}


def forged(keep, session, **changes):
    """A snapshot whose row is sound, and whose content is not what the row says."""
    newest = keep.sessions.snapshots("bot")[-1].replace(**changes)
    receipt = keep.commit(keep.table(SnapshotRecord).append([newest]))
    return receipt.revision


@pytest.mark.requirement("D70-38", api="SessionStore.snapshot")
@pytest.mark.parametrize(
    "changes",
    [
        {"body": b"no zlib at all"},
        {"body": zlib.compress(b"{}")},
        {"body": zlib.compress(b"0" * 50_000_000)},  # unfolds to a thousand times what is declared
        {"body_bytes": 10},
        {"body_sha256": bytes(32)},
        {"body": None},
        {"body": None, "blob": {"blob": "x", "chunks": [], "size": 0, "chunk_bytes": 1}},
    ],
)
def test_a_snapshot_never_unfolds_to_more_than_it_declares(keep, session, changes):
    take(session, 1)
    revision = forged(keep, session, **changes)
    tracemalloc.start()
    with pytest.raises(Corrupt):
        keep.sessions.snapshot("bot", revision)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_nothing_may_follow_the_document(keep, session):
    take(session, 1)
    good = keep.sessions.snapshots("bot")[-1].body
    with pytest.raises(Corrupt):
        keep.sessions.snapshot("bot", forged(keep, session, body=good + b"more"))
    keep.sessions.snapshot("bot", forged(keep, session, body=good))


def test_a_snapshot_that_declares_too_much_is_refused_before_it_is_read(keep, session):
    take(session, 1)
    revision = forged(keep, session, body_bytes=2**40)
    with pytest.raises(TooLarge):
        keep.sessions.snapshot("bot", revision)


# -- retention -------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-42", "D70-6", api="SessionStore.prune")
def test_pruning_keeps_the_last_and_says_what_goes(keep, session):
    take(session, 6)
    expected = keep.sessions.prune(keep_last=3, dry_run=True)
    assert revisions(keep) == [1, 2, 3, 4, 5, 6, 7]
    pruned = keep.sessions.prune(keep_last=3)
    assert pruned == expected
    assert sorted(revision for _, revision in pruned.snapshots) == [1, 2, 3, 4]
    assert pruned.stored_bytes > 0
    assert revisions(keep) == [5, 6, 7]
    assert keep.sessions.prune(keep_last=3).snapshots == ()
    assert keep.sessions.verify("bot") == []
    take(session, 1)
    assert revisions(keep) == [5, 6, 7, 8]


@pytest.mark.requirement("Z-42", api="SessionStore.prune")
def test_pruning_by_age_never_takes_the_newest(keep, session):
    take(session, 3)
    other = keep.sessions.start("other")
    assert keep.sessions.prune(older_than=timedelta(days=1)).snapshots == ()
    future = quantkeep.columns.instant(keep.backend.now() + 10**6)
    pruned = keep.sessions.prune(older_than=future)
    assert len(pruned.snapshots) == 3
    assert revisions(keep) == [4]
    assert keep.sessions.snapshots("other")[0].session_id == other.session_id
    keep.sessions.prune(older_than=timedelta(0), keep_last=0)
    assert revisions(keep) == [4]
    session.stop()
    assert keep.sessions.resume("bot")["n"] == 3


@pytest.mark.requirement("Z-42", api="SessionStore.prune")
def test_the_newest_good_snapshot_outlives_newer_damaged_ones(keep, reopened, session):
    take(session, 5)
    collection = keep.table(SnapshotRecord).collection
    for damaged in (5, 6):
        keep.backend.backdoor().flip(collection, (session.session_id, damaged), "body")
    keep.sessions.prune(keep_last=1)
    assert revisions_of_all(keep, collection) == [4, 6]
    session.close()
    resumed = keep.sessions.resume("bot", allow_older=True)
    assert resumed["n"] == 3


def revisions_of_all(keep, collection):
    return [row.revision for row in keep.backend.scan(collection, quantkeep.Query())]


def test_a_finished_session_keeps_only_its_last(keep, session):
    take(session, 3)
    session.stop("finished")
    collection = keep.table(SnapshotRecord).collection
    keep.backend.backdoor().flip(collection, (session.session_id, 5), "body")
    keep.sessions.prune(keep_last=1)
    assert revisions_of_all(keep, collection) == [5]


def test_pruning_one_session_leaves_the_others(keep, session):
    take(session, 3)
    other = keep.sessions.start("other", snapshot_every=None)
    take(other, 3)
    keep.sessions.prune(keep_last=1, name_or_id="other")
    assert len(revisions(keep)) == 4
    assert len(keep.sessions.snapshots("other")) == 1


@pytest.mark.parametrize("arguments", [{}, {"dry_run": True}, {"keep_last": -1}])
def test_pruning_without_a_rule_is_refused(keep, session, arguments):
    with pytest.raises(InvalidQuery):
        keep.sessions.prune(**arguments)


@pytest.mark.requirement("D70-12", "D70-8", api="SessionStore.delete")
def test_deleting_a_session_takes_all_of_it_and_nothing_else(keep, session):
    other = keep.sessions.start("other")
    other["a"] = 1
    other.save()
    session["positions"] = {f"S{i}": {"note": "x" * 50} for i in range(100)}
    session.save()
    with pytest.raises(Busy):
        keep.sessions.delete("bot")
    session.stop()
    keep.sessions.delete("bot")
    with pytest.raises(NotFound):
        keep.sessions.get("bot")
    sizes = keep.sizes()
    kept = ("sessions", "session_leases", "session_entries", "session_snapshots")
    assert [sizes[name] for name in kept] == [1, 1, 1, 1]
    assert keep.sessions.verify("other") == []
    keep.sessions.delete("other", steal=True)
    with pytest.raises(quantkeep.QuantkeepError):
        other.save()
    assert [keep.sizes()[name] for name in kept] == [0, 0, 0, 0]
