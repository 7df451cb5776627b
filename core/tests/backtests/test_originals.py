"""The original JSON, out as it went in: value, type, what is absent, and what nobody foresaw."""

import copy
import json
import math
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quantkeep
from quantkeep.backtests import converters
from quantkeep.errors import InvalidValue, NotFound

NAIVE = datetime(2024, 1, 1, 10)  # noqa: DTZ001


def back(store, result):
    """What comes back of *result*."""
    return store.get_result(store.save_result(result).task_id)


@pytest.mark.requirement("BT-14", "Z-50", api="BacktestStore.get_result")
def test_an_original_comes_back_equal_and_its_argument_is_left_alone(backtests, original, same):
    result = original()
    before = copy.deepcopy(result)
    assert same(back(backtests, result), before)
    assert same(result, before)


@pytest.mark.requirement("Z-50", "X-3", api="BacktestStore.get_result")
def test_fields_that_no_schema_knows_come_back_where_they_were(backtests, original, same):
    result = original(
        initial_capital=100_000,
        params={"n": 5, "deep": [1, 2.5, None, {"x": -0.0}], "nan": math.nan},
        tags=["a", "b"],
        record_count=50,
        file_size=12,
        created_at="2024-07-01T10:30:00Z",
    )
    result["symbols"][0]["sharpe"] = math.inf
    result["symbols"][1]["trades_by_month"] = {"2024-01": 3}
    result["symbols"][0]["signals"][3]["reason"] = "돌파 ☕"
    result["symbols"][0]["signals"][4]["orders"] = [{"id": 2**62}, None]
    result["symbols"][1]["performance_curve"][0]["cash"] = 5.5
    assert same(back(backtests, result), result)


@pytest.mark.requirement("Z-50", "X-3", api="BacktestStore.get_result")
def test_null_absent_and_empty_are_three_things(backtests, original, same):
    result = original()
    first, second = result["symbols"]
    first["win_rate"] = None
    del second["win_rate"]
    first["signals"][0]["exit_price"] = None
    del first["signals"][1]["exit_price"]
    for point in second["performance_curve"]:
        del point["drawdown"]
    del result["timeframe"]
    second["signals"] = []
    second["total_signals"] = second["winning_signals"] = second["losing_signals"] = 0
    assert same(back(backtests, result), result)
    result["symbols"][1]["signals"] = None
    assert same(back(backtests, result), result)
    del result["symbols"][1]["signals"], result["symbols"][0]["performance_curve"]
    result["timeframe"] = None
    assert same(back(backtests, result), result)
    result["symbols"] = []
    assert same(back(backtests, result), result)


@pytest.mark.requirement("Z-50", "X-1", api="BacktestStore.get_result")
def test_numbers_keep_their_type_and_every_bit(backtests, original, same):
    result = original()
    for signal in result["symbols"][0]["signals"]:  # as JavaScript prints
        signal["entry_price"] = 42_000 if signal["signal_index"] % 2 else 42_000.5
    for signal in result["symbols"][1]["signals"]:
        signal["quantity"] = 1
        signal["hold_bars"] = float(signal["hold_bars"])
    values = [math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, 1.7976931348623157e308, 3, -0.0]
    for signal, value in zip(result["symbols"][0]["signals"], values, strict=False):
        signal["return_pct"] = value
    result["symbols"][0]["signals"][9]["signal_index"] = 10.0
    assert same(back(backtests, result), result)


@pytest.mark.requirement("Z-52", "BT-7", api="BacktestStore.get_result")
@pytest.mark.parametrize(
    "moments",
    [
        ["2024-01-01", "2024-01-02"],
        ["2024-01-01 10:00", "2024-01-01 10:05"],
        ["2024-01-01T10:00:00.5", "2024-01-01T10:00:01"],
        ["2024-01-01T10:00:00.123Z", "2024-01-01T10:00:01.000Z"],
        ["2024-01-01T10:00:00+00:00", "2024-01-01T10:00:00.000001+00:00"],
        ["2024-01-01T19:00:00+09:00", "2024-01-01T10:00:01Z", "2024-01-01T10:00:02"],
        ["2024-03-31T01:30:00-03:30", None],
        ["20240101T101112Z"],
        [1_704_103_200, 1_704_103_201],
        [1_704_103_200.5, 1_704_103_200.123457 + 1],
        [1_704_103_200_000, 1_704_103_200_000.0],
        [1_704_103_200_000_001, 1_704_103_200_000_002],
        [1_704_103_200_000_001_000],
        [NAIVE, NAIVE + timedelta(microseconds=1)],
        [NAIVE.replace(tzinfo=UTC)],
    ],
    ids=str,
)
def test_instants_are_spelled_as_they_were(backtests, same, moments):
    signals = [{"timestamp": moment} for moment in moments]
    result = {
        "strategy": "s", "start_date": "2024-01-01", "end_date": "2024-12-31",
        "symbols": [{"symbol": "A", "signals": signals}],
    }  # fmt: skip
    assert same(back(backtests, result), result)


@pytest.mark.requirement("Z-52", api="BacktestStore.read")
def test_however_it_is_spelled_the_table_has_the_instant_in_utc(backtests):
    spelled = [
        "2024-01-01T19:00:00+09:00", "2024-01-01T10:00:00", "2024-01-01 10:00", 1_704_103_200,
        1_704_103_200_000.0, "2024-01-01T10:00:00Z",
    ]  # fmt: skip
    symbols = [
        {"symbol": str(n), "signals": [{"timestamp": moment}]} for n, moment in enumerate(spelled)
    ]
    dates = {"start_date": date(2024, 1, 1), "end_date": "2024-12-31T00:00:00"}
    task = backtests.save_result({"strategy": "s", **dates, "symbols": symbols}).task_id
    table = backtests.tables(task).symbol_signals
    assert {str(t) for t in table["timestamp"].to_pylist()} == {"2024-01-01 10:00:00"}
    assert backtests.get_result(task)["start_date"] == date(2024, 1, 1)
    assert backtests.get_result(task)["end_date"] == "2024-12-31T00:00:00"


_NUMBERS = st.one_of(
    st.none(), st.floats(), st.integers(-(2**53), 2**53), st.integers(-3, 3).map(float)
)
_FIELDS = {
    "entry_price": _NUMBERS,
    "return_pct": _NUMBERS,
    "quantity": st.floats(allow_nan=False).map(lambda x: round(x, 2)),
    "hold_bars": st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1), st.just(7.0)),
    "type": st.sampled_from(["buy", "sell", None]),
    "status": st.sampled_from(["open", "closed", None]),
    "symbol": st.just("A"),
    "more": st.one_of(st.text(st.characters(codec="utf-8", exclude_characters="\0")), _NUMBERS),
}


@pytest.mark.requirement("Z-50", "BT-14", api="BacktestStore.get_result")
@settings(max_examples=60, deadline=None)
@given(
    signals=st.lists(st.fixed_dictionaries({}, optional=_FIELDS), max_size=6),
    point=st.lists(st.fixed_dictionaries({}, optional={"equity": _NUMBERS, "idx": st.just(1)})),
)
def test_whatever_the_lists_hold_comes_back(same, signals, point):
    result = {
        "strategy": "s", "start_date": "2024-01-01", "end_date": "2024-12-31",
        "symbols": [{"symbol": "A", "signals": signals, "performance_curve": point}],
    }  # fmt: skip
    with quantkeep.open("memory://") as keep:
        assert same(back(keep.backtests, result), result)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("signals", 3, "entry_price"), "0.003", r"signals\[3\].entry_price: cannot hold '0.003'"),
        (("signals", 3, "entry_price"), True, "a float"),
        (("signals", 3, "entry_price"), 2**53 + 1, "entry_price"),
        (("signals", 3, "hold_bars"), 2**31, r"symbols\[0\].signals\[3\].hold_bars"),
        (("signals", 3, "hold_bars"), 1.5, "an integer"),
        (("signals", 3, "type"), "hold", "one of 'buy', 'sell'"),
        (("signals", 3, "status"), "half", "one of 'closed', 'open'"),
        (("signals", 3, "timestamp"), "2024-01-01T00:00:00.1234567", "to the microsecond"),
        (("signals", 3, "timestamp"), "yesterday", "an instant"),
        (("signals", 3, "timestamp"), 1_704_103_200_000_001_001, "an instant"),
        (("signals", 3), 5, r"signals\[3\]: is a int; expected a dict"),
        (("signals",), {"a": 1}, "is a dict; expected a list"),
        (("symbol",), None, r"symbols\[0\].symbol: is required"),
        (("symbol",), "A\0", "without"),
        (("symbol",), "A\ud800", "symbol"),
        (("symbol",), "ETH/USDT", "names 'ETH/USDT' twice"),
        (("total_signals",), 24, "is 24 for 'BTC/USDT', whose rows in symbol_signals are 25"),
        (("winning_signals",), 20, "is 20 for 'BTC/USDT', and losing_signals is 13: more than"),
        (("signals", 3, "extra"), {1, 2, object()}, r"signals\[3\].extra"),
        (("signals", 3, "extra"), "a\0", r"signals\[3\].extra"),
        (("performance_curve", 9, "equity"), [1], r"performance_curve\[9\].equity"),
    ],
)
@pytest.mark.requirement("BT-20", "BT-21", "X-5", "X-1", api="BacktestStore.save_result")
def test_what_does_not_fit_is_refused_by_its_place(backtests, original, path, value, said):
    result = original()
    at = result["symbols"][0]
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with pytest.raises(InvalidValue, match=said):
        backtests.save_result(result)
    assert backtests.list_results() == []


@pytest.mark.requirement("BT-21", api="BacktestStore.save_result")
def test_a_count_that_disagrees_with_the_signals_is_refused(backtests, original):
    with pytest.raises(InvalidValue, match="record_count: is 51, but there are 50 signals"):
        backtests.save_result(original(record_count=51))
    backtests.save_result(original(record_count=50))


@pytest.mark.requirement("BT-22", api="BacktestStore.save_result")
def test_each_symbols_instants_are_in_order(backtests, original):
    result = original()
    signals = result["symbols"][1]["signals"]
    signals[5]["timestamp"] = signals[4]["timestamp"]  # the same instant twice is in order
    backtests.save_result(result)
    signals[5]["timestamp"], signals[6]["timestamp"] = (
        signals[6]["timestamp"], signals[5]["timestamp"],
    )  # fmt: skip
    with pytest.raises(InvalidValue, match=r"symbols\[1\].signals\[6\].timestamp: lies before"):
        backtests.save_result(result)
    result = original()
    curve = result["symbols"][0]["performance_curve"]
    curve[3]["timestamp"] = None  # hides nothing
    curve[4]["timestamp"] = "2023-12-31T00:00:00"
    with pytest.raises(InvalidValue, match=r"performance_curve\[4\].timestamp: lies before"):
        backtests.save_result(result)


@pytest.mark.parametrize("result", [None, [], "{}", {"strategy": "s"}])
def test_what_is_no_result_is_refused(backtests, result):
    with pytest.raises(InvalidValue):
        backtests.save_result(result)


def test_what_is_not_stored_is_not_found(backtests):
    missing = "00000000-0000-0000-0000-000000000000"
    assert backtests.get(missing) is None
    for call in (backtests.get_result, backtests.tables, backtests.read, backtests.verify):
        with pytest.raises(NotFound):
            call(missing)
    with pytest.raises(InvalidValue, match="task_id"):
        backtests.get("not-a-uuid")


@pytest.mark.requirement("BT-15", api="converters.json_to_parquet")
def test_converters_go_both_ways_without_a_keep(tmp_path, original, same):
    result = original(note={"x": [1]})
    result["symbols"][0]["signals"][0]["reason"] = "breakout"
    place = converters.json_to_parquet(result, tmp_path / "one")
    said = json.loads((place / "metadata.json").read_text())
    assert said["parquet_files"]["symbol_signals"]["row_count"] == 50
    assert same(converters.parquet_to_json(place), result)
