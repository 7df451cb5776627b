"""What was written to a fallback comes back: all of it, once, over nobody's head."""

import random
import shutil
import signal
import subprocess
import sys

import pytest

import quantkeep
from quantkeep.blobs import BlobRef, Blobs
from quantkeep.errors import Busy, NotFound, Regression
from quantkeep.records import Record, record

pytestmark = pytest.mark.requirement("Z-39")


@record("parts", key=("name",), unique=[("number",)])
class Part(Record):
    name: str
    number: int = 0
    table: dict | None = None


def put(keep, **fields):
    return keep.commit(keep.table(Part).put(Part(**fields)))


def parts(keep):
    return {part.name: part.number for part in keep.table(Part).list()}


@pytest.fixture
def two(site):
    """Both places with *Part*, opened by themselves."""
    with (
        quantkeep.open(site.primary, records=[Part]) as primary,
        quantkeep.open(site.fallback, records=[Part]) as fallback,
    ):
        yield primary, fallback


def test_entries_go_behind_those_that_are_there_and_come_once(site, outage):
    outage.tape.append([site.point(n) for n in (3, 4)])
    first, second = site.merge(), site.merge()
    assert (first.added, second.added) == ({"equity_history": 2}, {})
    with site.look() as keep:
        assert site.equities(keep) == [0, 1, 2, 3, 4]
        assert [e.revision for e in keep.tape.equity(mode="paper")] == [1, 2, 3, 4, 5]


def test_entries_keep_their_content_and_stamps(site, outage):
    outage.tape.append(site.trade("a"))
    (before,) = outage.tape.trades(mode="paper")
    site.merge()
    with site.look() as keep:
        (after,) = keep.tape.trades(mode="paper")
    assert after == before
    assert after.envelope.digest == before.envelope.digest
    assert after.envelope.created_at == before.envelope.created_at


def test_equal_entries_without_a_uid_are_two(site, outage):
    outage.tape.append([site.point(7), site.point(7)])
    site.merge()
    outage.tape.append(site.point(7))
    assert site.merge().added == {"equity_history": 1}
    with site.look() as keep:
        assert site.equities(keep) == [0, 1, 2, 7, 7, 7]


def test_the_fallback_is_empty_then_and_fit_to_be_used_again(site, outage):
    outage.tape.append(site.point(3))
    assert site.merge().complete
    assert not sum(n for name, n in outage.sizes().items() if name not in ("bytes", "merge_source"))
    outage.tape.append(site.point(4))
    assert site.merge().added == {"equity_history": 1}
    with site.look() as keep:
        assert site.equities(keep) == [0, 1, 2, 3, 4]


def test_a_uid_that_is_there_already_adds_nothing(site, outage):
    with site.look() as keep:
        keep.tape.append(site.trade("a"))
    outage.tape.append([site.trade("a"), site.trade("b")])
    report = site.merge()
    assert (report.added, report.equal) == ({"trades": 1}, {"trades": 1})


def test_a_uid_with_other_content_is_a_conflict_and_the_rest_arrives(site, outage):
    with site.look() as keep:
        keep.tape.append(site.trade("b", price=9.0))
    outage.tape.append([site.trade("a"), site.trade("b"), site.trade("c")])
    for _ in range(2):
        report = site.merge()
        assert [(c.collection, c.key) for c in report.conflicts] == [
            ("trades", ("default", "paper", 2))
        ]
    with site.look() as keep:
        found = {t.uid: t.fill_price for t in keep.tape.trades(mode="paper")}
    assert found == {"b": 9.0, "a": 1.0, "c": 1.0}
    assert [t.uid for t in outage.tape.trades(mode="paper")] == ["b"]
    assert site.merge(prefer="primary").complete
    assert site.merge().complete


def test_records_are_added_left_or_in_conflict(site, two):
    primary, fallback = two
    put(primary, name="same", number=1)
    put(primary, name="other", number=2)
    for name, number in (("same", 1), ("other", 20), ("new", 3)):
        put(fallback, name=name, number=number)
    report = site.merge()
    assert (report.added, report.equal) == ({"parts": 1}, {"parts": 1})
    assert [(c.key, "differs" in c.why) for c in report.conflicts] == [(("other",), True)]
    assert parts(primary) == {"same": 1, "other": 2, "new": 3}
    assert parts(fallback) == {"other": 20}


@pytest.mark.parametrize(("prefer", "number"), [("fallback", 20), ("primary", 2)])
def test_who_wins_can_be_said(site, two, prefer, number):
    primary, fallback = two
    put(primary, name="other", number=2)
    put(fallback, name="other", number=20)
    assert site.merge(prefer=prefer).complete
    assert parts(primary) == {"other": number}
    assert parts(fallback) == {}


def test_unique_values_that_are_taken_are_a_conflict(site, two):
    primary, fallback = two
    put(primary, name="a", number=1)
    for number, name in enumerate(("x", "b", "y")):
        put(fallback, name=name, number=number)
    assert [c.key for c in site.merge().conflicts] == [("b",)]
    assert parts(primary) == {"a": 1, "x": 0, "y": 2}


def test_blobs_come_along(site, two):
    primary, fallback = two
    content = bytes(range(256)) * 20_000
    ref = Blobs(fallback.backend).write(content)
    put(fallback, name="big", table=ref.as_document())
    site.merge()
    table = primary.table(Part).fetch("big").table
    assert Blobs(primary.backend).read(BlobRef.from_document(table), limit=2**24) == content


def test_records_of_no_installed_class_come_along(site, two):
    _, fallback = two
    put(fallback, name="a", number=1)
    assert quantkeep.merge(site.fallback, "memory://").added == {"parts": 1}


# -- sessions ------------------------------------------------------------------------------------


def test_a_session_is_the_latest_of_its_name_and_knows_where_the_tape_is(site, outage):
    with site.look() as keep:
        keep.sessions.start("bot", mode="paper").stop()
    session = outage.sessions.start("bot", mode="paper")
    outage.tape.append([site.point(n) for n in (3, 4, 5)])
    session["x"] = {"seen": 2}
    session.save(watermarks={"equity_history/paper/default": 2})
    session.snapshot()
    session.stop()
    assert site.merge().complete
    with site.look() as keep:
        resumed = keep.sessions.resume("bot")
        assert (resumed.session_id, resumed["x"]) == (session.session_id, {"seen": 2})
        assert keep.sessions.get("bot").number == 2
        assert [event.total_equity for event in resumed.events] == [5]
        assert keep.sessions.verify("bot") == []
        resumed.save()
        resumed.snapshot()
        assert [s.revision for s in keep.sessions.snapshots("bot")] == [1, 2, 3, 4]


def test_a_session_that_is_held_is_not_merged(site, outage):
    session = outage.sessions.start("bot", mode="paper")
    outage.tape.append(site.point(3))
    with pytest.raises(Busy, match="Nothing was merged"):
        site.merge()
    with site.look() as keep:
        assert site.equities(keep) == [0, 1, 2]
    assert site.merge(steal=True).complete
    session["x"] = 1
    with pytest.raises((quantkeep.StaleOwner, quantkeep.Conflict)):
        session.save()
    with site.look() as keep:
        assert keep.sessions.resume("bot").token == 3


# -- what may go wrong ---------------------------------------------------------------------------


def test_nothing_to_merge(site, tmp_path):
    with pytest.raises(NotFound):
        site.merge()
    assert not (tmp_path / "bot.db").exists()


@pytest.mark.parametrize("merges", [0, 1])
def test_an_older_copy_of_the_fallback_is_noticed(site, outage, tmp_path, merges):
    """Its next entries would have the numbers of some that were merged."""
    for _ in range(merges):
        outage.tape.append(site.point(3))
        site.merge()
    shutil.copytree(tmp_path / "fallback", tmp_path / "copy")
    outage.tape.append(site.point(4))
    site.merge()
    copy = f"json:///{tmp_path}/copy"
    with quantkeep.open(copy) as keep:
        keep.tape.append(site.point(5))
    with pytest.raises(Regression, match="older copy"):
        quantkeep.merge(copy, site.primary)
    with quantkeep.open(copy) as keep:
        assert site.equities(keep) == [5]


def test_a_damaged_record_is_not_merged(site, two):
    primary, fallback = two
    put(fallback, name="a", number=1)
    table = fallback.table(Part)
    fallback.backend.backdoor().flip(table.collection, ("a",), "number")
    with pytest.raises(quantkeep.Corrupt):
        site.merge()
    assert parts(primary) == {}


MERGE = "import sys, quantkeep; quantkeep.merge(sys.argv[1], sys.argv[2])"
STEPS = ("merging.commit", "merging.committed", "merging.clear", "merging.cleared")


@pytest.mark.parametrize("step", STEPS)
def test_it_may_be_killed_at_every_step(site, outage, step, forked):
    session = outage.sessions.start("bot", mode="paper")
    outage.tape.append([site.point(n) for n in range(3, 9)])
    outage.tape.append([site.trade(uid) for uid in "abc"])
    session["x"] = 1
    session.save()
    session.stop()
    struck = 0
    for nth in random.Random(step).sample(range(1, 9), 4):
        merging = forked(MERGE, site.fallback, site.primary, armed=f"{step}=kill@{nth}")
        merging.join(280)
        assert merging.exitcode in (0, -signal.SIGKILL)
        struck += merging.exitcode != 0
    assert struck
    assert site.merge().complete
    with site.look() as keep:
        assert site.equities(keep) == [*range(9)]
        assert sorted(t.uid for t in keep.tape.trades(mode="paper")) == [*"abc"]
        assert keep.sessions.resume("bot")["x"] == 1


def test_two_that_merge_at_once_bring_it_once(site, outage):
    outage.tape.append([site.point(n) for n in range(3, 1003)])
    command = [sys.executable, "-c", MERGE, site.fallback, site.primary]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [process.communicate()[1] for process in running]
    assert not any(ended), ended
    with site.look() as keep:
        rows = keep.tape.scan(type(site.point(0)))
        assert [entry.total_equity for entry in rows] == [*range(1003)]


# -- the command ---------------------------------------------------------------------------------


def test_the_command(site, two, capsys):
    from quantkeep.cli import main

    primary, fallback = two
    put(primary, name="other", number=2)
    put(fallback, name="new", number=3)
    put(fallback, name="other", number=20)
    command = ["merge", site.fallback, "--into", site.primary, "--format", "csv"]
    assert main(command) == 1
    out, err = capsys.readouterr()
    assert "1 records merged; 1 are in conflict" in err
    assert out.splitlines()[1].startswith("parts,other,differs")
    assert main([*command, "--prefer", "primary"]) == 0
    assert main(command) == 0
