"""Results of other programs, imported, read back and compared with their files value by value."""

import gzip
import json
import math
from collections import Counter
from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import quantkeep
from quantkeep.backtests import CURVE, SIGNALS
from quantkeep_plugins.importers.backtests import import_backtests
from quantkeep_plugins.importers.backtests.storing import same

FIELDS = {
    "task_id": "550e8400-e29b-41d4-a716-446655440000",
    "strategy": "s",
    "start_date": "2024-01-01",
    "end_date": "2024-06-30",
}


def sound(keep) -> bool:
    """Whether everything stored verifies, and a second look finds every result."""
    found = [*keep.backtests.verify_all()]
    assert [v.problems for v in found if not v.ok] == []
    return len(found) > 0


def originals(keep) -> dict[str, dict]:
    return {r.strategy: keep.backtests.get_result(r.task_id) for r in keep.backtests.list_results()}


# -- vectorbt --------------------------------------------------------------------------------------


@pytest.mark.requirement("BT-13", "BT-14", "Z-50", "Z-52", api="import_backtests")
def test_portfolios_of_vectorbt(keep, real_data):
    folder = real_data / "runs" / "vectorbt"
    done = import_backtests(folder, keep)
    assert (done.kind, done.read, done.added) == ("vectorbt", {"completed": 10}, 10)
    assert import_backtests(folder, keep).added == 0
    assert sound(keep)
    trades = pq.read_table(folder / "trades.parquet").to_pandas()
    values = pq.read_table(folder / "value.parquet").to_pandas()
    stats = pd.read_csv(folder / "stats.csv").set_index(["fast_window", "slow_window", "Name"])
    seen = 0
    for name, result in originals(keep).items():
        fast, slow = map(int, name.removeprefix("sma ").split("/"))
        for symbol in result["symbols"]:
            label = (fast, slow, symbol["symbol"])
            rows = trades[trades["Column"] == json.dumps(label)].to_dict("records")
            assert len(rows) == len(symbol["signals"]) == symbol["total_signals"]
            for row, signal in zip(rows, symbol["signals"], strict=True):
                seen += _same_trade(row, signal)
            _same_statistics(stats.loc[label].to_dict(), symbol)
            column = "|".join(map(str, label))
            equity = [point["equity"] for point in symbol["performance_curve"]]
            assert equity == ([*map(float, values[column])] if column in values else [])
    assert seen == 5_144


def _same_trade(row, signal) -> int:
    is_open = row["Status"] == "Open"
    assert signal["timestamp"] == row["Entry Timestamp"].isoformat()
    assert (signal["entry_price"], signal["quantity"]) == (row["Avg Entry Price"], row["Size"])
    assert signal["exit_price"] == (None if is_open else row["Avg Exit Price"])
    assert signal["status"] == row["Status"].lower()
    assert signal["fee_amount"] == row["Entry Fees"] + row["Exit Fees"]
    assert signal["Exit Timestamp"] == row["Exit Timestamp"].isoformat()
    for name in ("PnL", "Return", "Avg Exit Price", "Position Id", "Exit Trade Id", "Direction"):
        assert signal[name] == row[name]
    return 1


def _same_statistics(row, symbol) -> None:
    ours = {"Win Rate [%]": "win_rate", "Max Drawdown [%]": "max_drawdown",
            "Total Trades": "total_signals", "Best Trade [%]": "max_return",
            "Worst Trade [%]": "min_return", "Total Return [%]": "total_pnl_pct"}  # fmt: skip
    for name, value in row.items():
        if name in ("Start", "End"):
            continue
        found = symbol[ours.get(name, name)]
        blank = isinstance(value, float) and math.isnan(value)
        assert found is None if blank else found == value, name


# -- freqtrade -------------------------------------------------------------------------------------


@pytest.mark.requirement("BT-13", "BT-14", "Z-50", api="import_backtests")
def test_a_result_of_freqtrade(keep, real_data):
    folder = real_data / "freqtrade" / "backtest_results"
    done = import_backtests(folder, keep)
    assert (done.kind, done.read, done.added) == ("freqtrade", {"completed": 1}, 1)
    assert import_backtests(folder / "backtest-result.json", keep).added == 0
    assert sound(keep)
    said = json.loads((folder / "backtest-result.json").read_text())
    strategy = said["strategy"]["StrategyTestV3"]
    result = originals(keep)["StrategyTestV3"]
    moved = {"open_rate": "entry_price", "close_rate": "exit_price", "amount": "quantity"}
    found = {
        signal["signal_index"]: (symbol["symbol"], signal)
        for symbol in result["symbols"]
        for signal in symbol["signals"]
    }
    assert len(found) == 179
    for number, trade in enumerate(strategy["trades"], start=1):
        pair, signal = found[number]
        assert pair == trade["pair"]
        for name, value in trade.items():
            assert name == "pair" or same(signal[moved.get(name, name)], value)
    for name, value in strategy.items():
        if name not in ("trades", "results_per_pair", "strategy_name"):
            assert same(result[name], value), name
    assert same(result["comparison"], said["strategy_comparison"][0])
    assert result["comparison"]["max_drawdown_abs"] == "0.0002"  # a text among floats
    pairs = {row["key"]: row for row in strategy["results_per_pair"]}
    assert {s["symbol"]: s["winning_signals"] for s in result["symbols"]} == {
        key: row["wins"] for key, row in pairs.items() if key != "TOTAL"
    }
    assert keep.backtests.list_results(symbol="XMR/BTC")[0].record_count == 179


# -- bt --------------------------------------------------------------------------------------------


@pytest.mark.requirement("BT-13", "BT-14", "Z-50", "Z-51", api="import_backtests")
def test_strategies_of_bt(keep, real_data):
    folder = real_data / "runs" / "bt"
    done = import_backtests(folder, keep)
    assert (done.kind, done.read, done.added) == ("bt", {"completed": 5}, 5)
    assert import_backtests(folder, keep).added == 0
    assert sound(keep)
    stats = pd.read_csv(folder / "stats.csv", index_col=0, dtype=str, keep_default_na=False)
    prices = pd.read_csv(folder / "prices.csv.gz", index_col=0)
    results = originals(keep)
    for name, result in results.items():
        portfolio, *securities = result["symbols"]
        for figure, cell in stats[name].items():
            if figure in ("max_drawdown", "total_return"):
                continue
            found = portfolio[figure]
            assert found is None if cell == "" else str(found) == cell, figure
        assert portfolio["max_drawdown"] == abs(float(stats[name]["max_drawdown"])) * 100
        assert portfolio["signals"] is None
        curve = {p["timestamp"]: p["equity"] for p in portfolio["performance_curve"]}
        assert curve == prices[name].dropna().to_dict()
        with gzip.open(folder / f"transactions_{name}.csv.gz", "rt") as file:
            rows = [line.strip().split(",") for line in file][1:]
        rows = [row for row in rows if len(row) == 4]
        found = Counter(
            (signal["timestamp"], security["symbol"], signal["entry_price"],
             signal["quantity"] * (1 if signal["type"] == "buy" else -1))
            for security in securities for signal in security["signals"]
        )  # fmt: skip
        assert found == Counter((d, s, float(p), float(q)) for d, s, p, q in rows)
    assert results["never_trades"]["symbols"][0]["daily_sharpe"] is None
    assert len(results["never_trades"]["symbols"]) == 1
    weights = results["momentum5_quarterly"]["weights"]
    frame = pq.read_table(folder / "weights_momentum5.parquet").to_pandas(ignore_metadata=True)
    assert [c for c in weights if c != "__index_level_0__"] == [*sorted(frame.columns[:-1])]
    assert weights["GE"] == [*frame["GE"]]


# -- backtesting.py --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(real_data):
    """The research loop's runs, imported once."""
    folder = real_data / "runs" / "chain_a"
    with quantkeep.open("memory://") as keep:
        done = import_backtests(folder, keep)
        yield folder, keep, done


@pytest.mark.requirement("BT-13", "Z-53", "BT-2", api="import_backtests")
def test_every_run_of_a_research_loop_is_there(chain):
    folder, keep, done = chain
    assert done.read == {"completed": 181, "failed": 56, "cancelled": 51}
    assert done.added == 288
    for line in (folder / "backtests.jsonl").read_text().splitlines():
        said = json.loads(line)
        record = keep.backtests.fetch(said["backtest_id"])
        assert record.symbols == said["symbols"]
        assert record.timeframe == said["bar_interval"]
        assert record.error == said["error"]
        assert record.envelope.created_at == datetime.fromisoformat(said["created_at"])
        assert record.start_date == datetime.fromisoformat(said["period_start"]).date()
        assert record.metadata["source_status"] == said["status"]
        assert record.has_tables == (said["status"] == "completed")
        for name in ("strategy_id", "run_id", "iteration_id", "model_versions", "wall_s"):
            assert same(record.metadata[name], said[name])
    strategies = Counter(r.strategy for r in keep.backtests.list_results(None))
    assert "SmaCross" in strategies


@pytest.mark.requirement("BT-14", "Z-50", "X-1", "BT-23", api="BacktestStore.get_result")
def test_their_equity_trades_and_statistics_are_those_of_the_files(chain):
    folder, keep, _ = chain
    seen = Counter()
    for record in keep.backtests.list_results(None, status="completed"):
        raw = folder / "raw" / str(record.task_id)
        symbol = keep.backtests.get_result(record.task_id)["symbols"][0]
        seen["points"] += _same_equity(raw, symbol["performance_curve"])
        seen["trades"] += _same_trades(raw, symbol["signals"])
        stats = json.loads((raw / "stats.json").read_text())
        seen["NaN"] += sum(isinstance(v, float) and math.isnan(v) for v in stats.values())
        seen[f"{len(stats)} figures"] += 1
        _same_stats(stats, symbol)
        assert keep.backtests.verify(record.task_id).ok
    assert seen["points"] == 365_702
    assert seen["trades"] == 6_449
    assert seen["NaN"] > 300
    assert {key for key in seen if "figures" in key} == {"31 figures", "32 figures"}


def _same_equity(raw, curve) -> int:
    table = pq.read_table(raw / "equity.parquet")
    column = table["DrawdownDuration"]
    lasted = [None] * len(table)  # a curve without a drawdown has NaNs there, not durations
    if pa.types.is_duration(column.type):
        lasted = column.cast(pa.duration("us")).to_pylist()
    moments = [pd.Timestamp(t).isoformat() for t in table["time"].to_pylist()]
    for point, moment, equity, drawdown, duration in zip(
        curve, moments, table["Equity"].to_pylist(), table["DrawdownPct"].to_pylist(), lasted,
        strict=True,
    ):  # fmt: skip
        assert point["timestamp"] == moment
        assert same(point["equity"], equity)
        assert same(point["drawdown"], drawdown * 100)
        assert point.get("drawdown_duration") == duration
    return len(curve)


def _same_trades(raw, signals) -> int:
    frame = pd.read_csv(raw / "trades.csv")
    ours = {"EntryPrice": "entry_price", "ExitPrice": "exit_price", "EntryTime": "timestamp",
            "Commission": "fee_amount"}  # fmt: skip
    by_number = sorted(signals, key=lambda signal: signal["signal_index"])
    for row, signal in zip(frame.to_dict("records"), by_number, strict=True):
        for name, value in row.items():
            found = signal.get(ours.get(name, name))
            if isinstance(value, float) and math.isnan(value):
                assert found is None
            else:
                assert found == value, name
        assert signal["quantity"] == abs(row["Size"])
    return len(frame)


def _same_stats(stats, symbol) -> None:
    ours = {"Win Rate [%]": "win_rate", "Avg. Trade [%]": "avg_return",
            "Best Trade [%]": "max_return", "Worst Trade [%]": "min_return",
            "# Trades": "total_signals", "Return [%]": "total_pnl_pct"}  # fmt: skip
    for name, value in stats.items():
        assert same(symbol[ours.get(name, name)], value), name


@pytest.mark.requirement("BT-26", "BT-17", api="BacktestStore.scan")
def test_the_whole_loop_is_one_stream(chain):
    _, keep, _ = chain
    curves = keep.backtests.scan(CURVE, columns=["equity"])
    assert sum(batch.num_rows for batch in curves) == 365_702
    worst = keep.backtests.scan(SIGNALS, columns=["return_pct"], symbols=["ETH/BTC"]).read_all()
    assert worst.num_rows > 0
