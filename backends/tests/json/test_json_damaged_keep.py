"""A keep of which a commit is damaged, as whoever runs it meets it: stores, commands, a merge."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep import Corrupt, Record, field, merging, record
from quantkeep.batch import ABSENT
from quantkeep.blobs import Blobs
from quantkeep.cli import main
from quantkeep.tape import Trade


@record("desks", key=("name",))
class Desk(Record):
    name: str


@record("tickets", key=("name",))
class Ticket(Record):
    name: str
    desk: str = field(references="desks")
    report: dict[str, Any] | None = None


RECORDS = [Desk, Ticket]


def trade(number: int) -> Trade:
    at = datetime(2025, 1, 17, 9, number, tzinfo=UTC)
    return Trade(
        mode="paper", timestamp=at, symbol="BTC/USDT", side="LONG", action="OPEN", qty=1.0,
        uid=f"t{number}",
    )  # fmt: skip


@pytest.fixture
def url(tmp_path) -> str:
    return f"json:///{tmp_path}/keep"


@pytest.fixture
def journal(tmp_path, url) -> Path:
    """Of a keep: a desk, a trade, a ticket with a blob under an operation id, a trade."""
    with quantkeep.open(url, records=RECORDS) as keep:
        keep.commit(keep.table(Desk).put(Desk(name="a")))
        keep.tape.append(trade(1))
        report = Blobs(keep.backend).write(b"a long report" * 100).as_document()
        ticket = Ticket(name="one", desk="a", report=report)
        keep.commit(keep.table(Ticket).put(ticket, ABSENT), op_id="ticket one")
        keep.tape.append(trade(2))
    return max((tmp_path / "keep").glob("journal-*.jsonl"))


def damage(journal: Path, text: bytes) -> int:
    """Flip a bit in the body of the last line that has *text*; the number of that line."""
    data = journal.read_bytes()
    place = data.rindex(text)
    journal.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    return data[:place].count(b"\n") + 1


def test_stores_of_what_is_sound_answer(journal, url):
    line = damage(journal, b"BTC/USDT")
    with quantkeep.open(url, records=RECORDS) as keep:
        assert keep.table(Ticket).get("one").desk == "a"
        assert keep.resolve("ticket one") is not None
        with pytest.raises(Corrupt) as caught:
            keep.tape.trades(mode="paper")
        assert caught.value.locator == f"{journal}:{line}"


def test_references_to_what_is_not_known_are_not_judged(journal, url):
    """A desk may have been removed in the line that is damaged, or a ticket come to refer to it."""
    damage(journal, b'"desk":"a"')
    with quantkeep.open(url, records=RECORDS) as keep:
        assert keep.table(Desk).get("a") is not None
        assert [t.uid for t in keep.tape.trades(mode="paper")] == ["t1", "t2"]
        writes = (
            keep.table(Desk).delete("a"),
            keep.table(Ticket).put(Ticket(name="two", desk="a")),
            keep.table(Desk).put(Desk(name="b")),
        )
        for write in writes:
            for op_id in (None, "ticket one", "another"):
                with pytest.raises(Corrupt, match="Until then nothing can be written"):
                    keep.commit(write, op_id=op_id)
        with pytest.raises(Corrupt, match="operation 'ticket one'"):
            keep.resolve("ticket one")


@pytest.mark.requirement("Z-18")
def test_the_commands_name_the_line_and_what_is_lost(journal, url, capsys):
    line = damage(journal, b"BTC/USDT")
    for command in (["doctor", url], ["verify", url], ["verify", url, "--deep"]):
        assert main([*command, "--format", "json"]) == 1
        said = capsys.readouterr()
        assert f"{journal}, line {line}: " in said.out + said.err
        assert "what it says of trades is not known" in said.out + said.err
    assert main(["equity", url, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["trades", url]) == 2
    assert f"{journal}, line {line}" in capsys.readouterr().err


def test_commands_that_change_files_refuse(journal, url, capsys):
    """The blob of a ticket that cannot be read is no garbage."""
    damage(journal, b'"desk":"a"')
    folder = journal.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in (["compact", url], ["gc", url, "--older-than", "0s"]):
        assert main(command) == 2
        assert str(journal) in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_damaged_fallback_is_not_merged_in_part(journal, url, tmp_path):
    damage(journal, b'"desk":"a"')
    folder, target = journal.parent, f"sqlite:///{tmp_path}/primary.db"
    quantkeep.open(target, records=RECORDS).close()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(Corrupt, match="line 3"):
        merging.merge(url, target)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    with quantkeep.open(target, records=RECORDS) as keep:
        assert keep.tape.trades(mode="paper") == []
