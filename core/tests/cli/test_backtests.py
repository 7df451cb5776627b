"""Backtest results from the command line: listed, shown, exported, checked, retired, imported."""

import json
import math
import sqlite3
from datetime import UTC, date, datetime, timedelta

import pyarrow.parquet as pq
import pytest

import quantkeep

OLD = "00000000-0000-0000-0000-000000000001"
NEW = "00000000-0000-0000-0000-000000000002"
RUNNING = "00000000-0000-0000-0000-000000000003"


def result(task: str, strategy: str, symbol: str) -> dict:
    signals = [
        {"timestamp": f"2024-01-0{n}T00:00:00", "entry_price": 100.5 + n, "type": "buy"}
        for n in range(1, 6)
    ]
    return {
        "task_id": task, "strategy": strategy, "start_date": "2024-01-01",
        "end_date": "2024-06-30", "timeframe": "1h", "note": float("nan"),
        "symbols": [{"symbol": symbol, "signals": signals}, {"symbol": "X", "signals": []}],
    }  # fmt: skip


@pytest.fixture
def place(tmp_path):
    return tmp_path / "research.db"


@pytest.fixture
def url(place):
    """A keep with a result of last month, one of now, and one that is running."""
    url = f"sqlite:///{place}"
    with quantkeep.open(url) as keep:
        made = datetime.now(UTC) - timedelta(days=30)
        keep.backtests.save_result(result(OLD, "sma", "BTC/USDT"), created_at=made)
        keep.backtests.save_result(result(NEW, "rsi", "ETH/USDT"))
        keep.backtests.save_running(
            task_id=RUNNING, strategy="sma", symbols=["BTC/USDT"],
            start_date=date(2024, 1, 1), end_date=date(2024, 6, 30),
        )  # fmt: skip
    return url


def tasks(ran):
    assert ran.code == 0, ran.err
    return [row["task_id"] for row in ran.rows]


@pytest.mark.requirement("BT-19", "BT-16", "BT-17", "BT-5", api="quantkeep backtests list")
def test_list(cli, url):
    listed = ("backtests", "list", url, "-f", "json")
    assert tasks(cli(*listed)) == [RUNNING, NEW, OLD]
    assert tasks(cli(*listed, "--limit", 2)) == [RUNNING, NEW]
    assert tasks(cli(*listed, "--strategy", "sma")) == [RUNNING, OLD]
    assert tasks(cli(*listed, "--status", "completed")) == [NEW, OLD]
    assert tasks(cli(*listed, "--symbol", "BTC/USDT")) == [RUNNING, OLD]
    assert tasks(cli(*listed, "--since", "7d")) == [RUNNING, NEW]
    ran = cli("backtests", "list", url)
    assert "rsi" in ran.out
    assert "file_size" not in ran.out


@pytest.mark.requirement("BT-26", api="quantkeep backtests show")
def test_show(cli, url, tmp_path):
    shown = ("backtests", "show", url, "-t", NEW)
    said = {row["field"]: row["value"] for row in cli(*shown, "-f", "json").rows}
    assert said["strategy"] == "rsi"
    assert said["symbol_signals"].startswith("5 rows, ")
    assert "status" in {
        r["field"] for r in cli("backtests", "show", url, "-t", RUNNING, "-f", "json").rows
    }
    table = (*shown, "--table", "symbol_signals", "-f", "json")
    rows = cli(*table).rows
    assert [row["entry_price"] for row in rows] == [101.5, 102.5, 103.5, 104.5, 105.5]
    assert rows[0]["timestamp"] == "2024-01-01T00:00:00.000000Z"
    assert len(cli(*table, "--limit", 2).rows) == 2
    assert cli(*table, "-s", "X").rows == []
    assert len(cli(*table, "--since", "2024-01-03", "--until", "2024-01-05").rows) == 2
    out = tmp_path / "signals.parquet"
    assert cli(*shown, "--table", "symbol_signals", "--limit", 0, "-o", out).code == 0
    assert pq.read_table(out).num_rows == 5
    assert cli("backtests", "show", url, "-t", RUNNING, "--table", "symbol_signals").code == 2
    assert "task_id: is 'no-uuid'" in cli("backtests", "show", url, "-t", "no-uuid").err


@pytest.mark.requirement("BT-9", "BT-14", api="quantkeep backtests export")
def test_export(cli, url, tmp_path):
    ran = cli("backtests", "export", url, "--to", tmp_path / "out", "-f", "json")
    assert sorted(tasks(ran)) == [OLD, NEW]
    folder = tmp_path / "out" / "backtests" / NEW
    assert pq.read_table(folder / "symbol_signals.parquet").num_rows == 5
    again = cli("backtests", "export", url, "--to", tmp_path / "out", "-t", NEW)
    assert again.code == 2
    assert "is there already" in again.err
    snappy = cli("backtests", "export", url, "--to", tmp_path / "b", "-t", NEW, "--codec", "snappy")
    assert snappy.code == 0
    said = json.loads((tmp_path / "b" / "backtests" / NEW / "metadata.json").read_text())
    assert said["compression"] == "snappy"
    ran = cli("backtests", "export", url, "--to", tmp_path / "c", "-t", NEW, "--as", "json")
    assert ran.code == 0
    found = json.loads((tmp_path / "c" / f"{NEW}.json").read_text())
    assert math.isnan(found.pop("note"))
    wanted = result(NEW, "rsi", "ETH/USDT")
    del wanted["note"]
    assert found == wanted


@pytest.mark.requirement("BT-20", "BT-21", "BT-22", "BT-23", api="quantkeep backtests verify")
def test_verify(cli, url, place):
    verified = ("backtests", "verify", url, "-f", "json")
    ran = cli(*verified)
    assert ran.code == 0
    assert {row["problems"] for row in ran.rows} == {0}
    assert len(cli(*verified, "-t", NEW).rows) == 1
    assert "3 results, no problems" in cli(*verified[:-2]).out
    assert "1 result, no problems" in cli(*verified[:-2], "-t", NEW).out
    with sqlite3.connect(place) as raw:
        raw.execute("UPDATE quantkeep_blobs SET data = substr(data, 2)")
    ran = cli(*verified)
    assert ran.code == 1
    assert "not what was written" in str(ran.rows)


@pytest.mark.requirement("BT-18", "BT-19", "Z-54", api="quantkeep backtests cleanup")
def test_cleanup_and_gc(cli, url):
    cleanup = ("backtests", "cleanup", url, "--older-than", "7d", "-f", "json")
    assert tasks(cli(*cleanup, "--dry-run")) == [OLD]
    assert tasks(cli("backtests", "list", url, "-f", "json")) == [RUNNING, NEW, OLD]
    ran = cli(*cleanup)
    assert ran.rows[0]["parquet_path"] == f"backtests/{OLD}/"
    assert ran.rows[0]["created_at"].endswith("Z")
    assert tasks(cli(*cleanup)) == []
    collected = ("backtests", "gc", url, "-f", "json")
    assert cli(*collected).rows == [{"what": "pieces", "which": "0"}]  # within the grace period
    would = cli(*collected, "--grace", "0s", "--dry-run").rows
    assert would[0] == {"what": "result", "which": OLD}
    assert cli(*collected, "--grace", "0s").rows == would
    assert cli(*collected, "--grace", "0s").rows == [{"what": "pieces", "which": "0"}]
    assert cli("backtests", "verify", url).code == 0
    for wrong in ("soon", "7"):
        assert cli("backtests", "cleanup", url, "--older-than", wrong).code == 2


def test_a_keep_that_is_not_there_is_not_made(cli, tmp_path):
    for command in (("list",), ("gc",), ("verify",), ("cleanup", "--older-than", "1d")):
        name, *options = command
        ran = cli("backtests", name, f"sqlite:///{tmp_path}/none.db", *options)
        assert ran.code == 2, ran.out
    assert not (tmp_path / "none.db").exists()


@pytest.mark.requirement("BT-13", api="quantkeep import backtest-results")
def test_import(cli, tmp_path):
    url, file = f"sqlite:///{tmp_path}/new.db", tmp_path / "result.json"
    file.write_text(json.dumps(result(NEW, "rsi", "ETH/USDT")))
    ran = cli("import", "backtest-results", file, "--to", url, "-f", "json")
    assert ran.code == 0, ran.err
    assert ran.rows == [{"read": "completed", "count": 1}]
    assert "0 new" in cli("import", "backtest-results", file, "--to", url).out
    assert tasks(cli("backtests", "list", url, "-f", "json")) == [NEW]
    assert "backtest-results" in cli("import", "--help").out
    assert cli("import", "stars", file, "--to", url).code == 2
    file.write_text("{}")
    ran = cli("import", "backtest-results", file, "--to", url)
    assert ran.code == 2
    assert "no backtest result that this importer knows" in ran.err
    wrong = cli("import", "backtest-results", file, "--to", url, "--from", "vectorbt")
    assert (wrong.code, "meta.json" in wrong.err) == (2, True)
