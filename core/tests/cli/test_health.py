"""``doctor``, ``verify`` and ``stats``: the truth, and an exit code that scripts can trust."""

import pytest

import quantkeep
from quantkeep.backend import Backend
from quantkeep.tape import Trade
from quantkeep_backends.sqlite.backend import SqliteBackend


@pytest.fixture
def damaged(url):
    """Damages the keep, by what the test does with its backdoor."""

    def damage(what):
        with quantkeep.open(url) as keep:
            what(keep.backend.backdoor(), keep.tape.table(Trade).collection)
        return url

    return damage


def test_stats_counts_rows_streams_and_writes(cli, url):
    rows = {row["collection"]: row for row in cli("stats", url, "-f", "json").rows}
    assert (rows["trades"]["rows"], rows["trades"]["streams"], rows["trades"]["writes"]) == (
        5,
        3,
        5,
    )
    assert rows["equity_history"]["rows"] == 1
    assert rows["diagnostics"]["rows"] == 0


def test_doctor_finds_a_well_keep_well(cli, url):
    result = cli("doctor", url, "-f", "json")
    assert result.code == 0
    found = {row["what"]: row["found"] for row in result.rows}
    assert found["backend"] == "sqlite"
    assert found["durability"] == "disk"
    assert found["rows of trades"] == "5"
    assert {row["verdict"] for row in result.rows} <= {"fact", "good", "warning"}
    assert "no problems found" in cli("doctor", url).out


@pytest.fixture
def _no_check(monkeypatch):
    """The engine is one whose author wrote no check."""
    for name in ("check", "scrub"):
        monkeypatch.setattr(SqliteBackend, name, getattr(Backend, name))


@pytest.mark.usefixtures("_no_check")
def test_a_check_that_is_not_there_has_found_nothing_good(cli, url):
    (row,) = [r for r in cli("doctor", url, "-f", "json").rows if r["what"] == "integrity"]
    assert (row["verdict"], row["found"]) == ("fact", "the engine has no check of its own")
    for deep in ([], ["--deep"]):
        result = cli("verify", url, *deep, "-f", "json")
        assert result.code == 0
        assert "engine" not in {row["checked"] for row in result.rows}
    assert "no problems; the engine has no check of its own" in cli("verify", url).out


def test_doctor_says_what_the_engine_cannot_read(cli, url, tmp_path):
    path = tmp_path / "bot.db"
    content = bytearray(path.read_bytes())
    content[4096 : len(content) : 512] = b"\xff" * len(content[4096 : len(content) : 512])
    path.write_bytes(content)
    result = cli("doctor", url, "-f", "json")
    assert result.code == 1
    assert [row for row in result.rows if row["verdict"] == "problem"]


@pytest.mark.requirement("Z-6", api="quantkeep verify")
def test_verify_reads_everything(cli, url):
    result = cli("verify", url, "-f", "json")
    assert (result.code, result.err) == (0, "")
    checked = {row["checked"]: (row["records"], row["problems"]) for row in result.rows}
    assert checked["trades"] == (5, 0)
    assert checked["engine"] == (0, 0)


@pytest.mark.requirement("Z-6", api="quantkeep verify")
def test_verify_finds_an_edited_record(cli, damaged):
    url = damaged(lambda door, trades: door.flip(trades, ("default", "paper", 2), "symbol"))
    result = cli("verify", url, "-f", "json")
    assert result.code == 1
    assert "trades ('default', 'paper', 2) does not match its digest" in result.err
    (row,) = [row for row in result.rows if row["checked"] == "trades"]
    assert (row["records"], row["problems"]) == (5, 1)


@pytest.mark.requirement("Z-2", "Z-6", api="quantkeep verify")
@pytest.mark.parametrize(
    ("scheme", "removed", "said"),
    [
        ("sqlite", [2], "entry 2 is missing"),
        ("json", [2], "entry 2 is missing"),
        # SQLite takes the newest row for the end of a log: only JSON knows that there were more.
        ("json", [3], "entry 3 is missing"),
        ("json", [2, 3], "entries 2 to 3 are missing"),
    ],
)
def test_verify_finds_entries_that_are_missing_from_a_log(cli, damaged, removed, said):
    def remove(door, trades):
        for revision in removed:
            door.remove(trades, ("default", "paper", revision))

    result = cli("verify", damaged(remove), "-f", "json")
    assert result.code == 1
    assert f"problem: trades('default', 'paper'): {said}" in result.err


@pytest.mark.requirement("Z-2", "Z-6", api="quantkeep verify")
@pytest.mark.parametrize("scheme", ["json"])
def test_verify_reads_on_behind_a_collection_that_cannot_be_read(cli, url, tmp_path):
    with quantkeep.open(url) as keep:
        keep.backend.compact()
    records = max((tmp_path / "bot.db").glob("records-*/trades.jsonl"))
    records.symlink_to(records.rename(tmp_path / "elsewhere"))
    result = cli("verify", url, "-f", "json")
    assert result.code == 1
    checked = {row["checked"]: (row["records"], row["problems"]) for row in result.rows}
    assert (checked["trades"], checked["equity_history"]) == ((0, 1), (1, 0))
    assert "is a symbolic link" in result.err


@pytest.mark.requirement("Z-2", api="quantkeep verify")
def test_verify_lets_retention_have_the_oldest(cli, url):
    with quantkeep.open(url) as keep:
        trades = keep.tape.table(Trade)
        keep.commit(trades.delete("default", "paper", 1), trades.delete("default", "paper", 2))
    assert cli("verify", url).code == 0
