"""Tables in and out: Arrow of any make, equal in value and type; what does not fit, by name."""

import math
import struct
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from quantkeep.backtests import CURVE, SIGNALS, SUMMARY, V1
from quantkeep.errors import InvalidValue

TASK = "550e8400-e29b-41d4-a716-446655440000"
META = {"task_id": TASK, "strategy": "s", "start_date": "2024-01-01", "end_date": "2024-12-31"}


def saved(store, **tables):
    return store.tables(store.save_result({**META, **tables}).task_id)


@pytest.fixture
def signals(original, as_tables) -> pa.Table:
    return as_tables(original())[SIGNALS]


def with_column(table: pa.Table, name: str, values, kind=None) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values, kind))


@pytest.mark.requirement("BT-6", "BT-7", "BT-8", "Z-51", api="BacktestStore.tables")
def test_the_schemas_are_those_of_the_design(backtests, original):
    text, real, count, moment = pa.string(), pa.float64(), pa.int32(), pa.timestamp("us")
    found = backtests.tables(backtests.save_result(original()).task_id)
    counts = ("total_signals", "winning_signals", "losing_signals")
    assert found.symbol_summary.schema == pa.schema(
        [("symbol", text)]
        + [
            (name, count if name in counts else real)
            for name in (
                "win_rate", "avg_return", "max_return", "min_return", "max_drawdown",
                "avg_hold_bars", *counts, "total_pnl", "total_pnl_pct",
            )
        ]
    )  # fmt: skip
    assert found.symbol_signals.schema == pa.schema(
        [
            ("symbol", text), ("signal_index", count), ("timestamp", moment), ("type", text),
            ("entry_price", real), ("exit_price", real), ("quantity", real), ("return_pct", real),
            ("hold_bars", count), ("fee_amount", real), ("slippage_amount", real),
            ("status", text),
        ]
    )  # fmt: skip
    assert found.performance_curve.schema == pa.schema(
        [
            ("symbol", text), ("idx", count), ("timestamp", moment), ("equity", real),
            ("drawdown", real), ("cumulative_pnl", real), ("cumulative_pnl_pct", real),
        ]
    )  # fmt: skip
    assert len(V1[SUMMARY].names) == len(V1[SIGNALS].names) == 12


@pytest.mark.requirement("BT-13", "BT-14", api="BacktestStore.save_result")
def test_tables_come_back_as_tables_and_as_the_original(backtests, original, as_tables, same):
    result = original()
    tables = as_tables(result)
    found = saved(backtests, **{name: tables[name] for name in (SUMMARY, SIGNALS, CURVE)})
    assert found.symbol_summary.equals(tables[SUMMARY])
    assert found.symbol_signals.equals(tables[SIGNALS])
    assert found.performance_curve.equals(tables[CURVE])
    assert same(backtests.get_result(TASK)["symbols"], result["symbols"])
    assert backtests.fetch(TASK).symbols == ["BTC/USDT", "ETH/USDT"]


@pytest.mark.requirement("Z-50", "X-1", api="BacktestStore.tables")
def test_every_bit_of_a_float_comes_back(backtests, signals):
    odd = struct.unpack(">d", bytes.fromhex("7ff8000000000abc"))[0]
    values = [math.nan, odd, math.inf, -math.inf, -0.0, 0.0, None, 5e-324, 0.1]
    for name in ("entry_price", "quantity", "return_pct"):
        padded = [*values, *([1.5] * (len(signals) - len(values)))]
        given = with_column(signals, name, padded, pa.float64())
        found = saved(backtests, symbol_signals=given).symbol_signals[name].to_pylist()
        assert [v and struct.pack(">d", v) for v in found] == [
            v and struct.pack(">d", v) for v in padded
        ]


@pytest.mark.requirement("BT-20", "BT-7", api="BacktestStore.tables")
def test_empty_and_missing_tables_keep_their_schema(backtests, signals):
    found = saved(backtests, symbol_signals=signals.slice(0, 0))
    for name in (SUMMARY, SIGNALS, CURVE):
        table = getattr(found, name)
        assert table.schema == V1[name].arrow
        assert table.num_rows == 0
    assert backtests.read(TASK, CURVE).read_all().schema == V1[CURVE].arrow
    assert backtests.fetch(TASK).symbols == []
    assert backtests.get_result(TASK)["symbols"] == []
    nothing = pa.Table.from_pylist([dict.fromkeys(signals.schema.names)] * 3, schema=signals.schema)
    nothing = with_column(nothing, "symbol", ["A"] * 3)
    assert saved(backtests, symbol_signals=nothing).symbol_signals.equals(nothing)


@pytest.mark.requirement("Z-52", api="BacktestStore.tables")
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Seoul", "America/New_York"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_instants_come_back_in_the_zone_and_unit_they_came_in(backtests, signals, zone, unit):
    kind = pa.timestamp(unit, zone)
    moments = signals["timestamp"].cast(pa.timestamp("us", "UTC"))
    given = signals.set_column(2, "timestamp", moments.cast(kind if zone else pa.timestamp(unit)))
    found = saved(backtests, symbol_signals=given)
    assert found.symbol_signals.schema.field("timestamp").type == kind
    assert found.symbol_signals.equals(given)
    read = backtests.read(TASK, columns=["timestamp"]).read_all()
    assert read["timestamp"].equals(signals["timestamp"])  # zone-less UTC for all


@pytest.mark.requirement("Z-52", "X-2", api="BacktestStore.save_result")
def test_what_is_finer_than_a_microsecond_is_refused(backtests, signals):
    finer = pa.array([1_704_103_200_000_000_001] * len(signals), pa.timestamp("ns"))
    with pytest.raises(InvalidValue, match=r"symbol_signals.*timestamp.*finer than a micro"):
        saved(backtests, symbol_signals=signals.set_column(2, "timestamp", finer))


@pytest.mark.requirement("BT-20", api="BacktestStore.save_result")
def test_types_that_widen_without_loss_are_taken_and_given_back(backtests, signals):
    wider = {
        "symbol": pa.dictionary(pa.int32(), pa.string()),
        "signal_index": pa.int64(),
        "type": pa.large_string(),
        "quantity": pa.float32(),
        "hold_bars": pa.uint8(),
        "status": pa.string_view(),
    }
    given = signals
    for name, kind in wider.items():
        given = given.set_column(given.schema.get_field_index(name), name, given[name].cast(kind))
    given = given.select(sorted(given.schema.names))
    found = saved(backtests, symbol_signals=given)
    assert found.symbol_signals.schema == given.schema
    assert found.symbol_signals.equals(given)
    assert backtests.read(TASK).read_all().equals(signals)


@pytest.mark.requirement("BT-14", api="BacktestStore.tables")
def test_frames_of_pandas(backtests, original, as_tables):
    tables = as_tables(original())
    frame = tables[SIGNALS].to_pandas()
    frame.loc[3, "return_pct"] = math.nan
    assert frame["exit_price"].isna().sum() == 2
    found = saved(backtests, symbol_signals=frame, symbol_summary=tables[SUMMARY].to_pandas())
    again = found.symbol_signals.to_pandas()
    pd.testing.assert_frame_equal(again, frame)
    assert found.symbol_signals["return_pct"].null_count == 0  # NaN is no null
    nullable = frame.convert_dtypes(dtype_backend="pyarrow")
    found = saved(backtests, symbol_signals=nullable)
    assert found.symbol_signals["exit_price"].null_count == 2


@pytest.mark.requirement("BT-14", api="BacktestStore.tables")
def test_frames_of_polars_and_relations_of_duckdb(backtests, signals):
    frame = pl.from_arrow(signals)
    found = saved(backtests, symbol_signals=frame)
    assert pl.from_arrow(found.symbol_signals).equals(frame)
    connection = duckdb.connect()
    connection.register("signals", signals)
    found = saved(backtests, symbol_signals=connection.sql("SELECT * FROM signals"))
    assert found.symbol_signals.cast(signals.schema).equals(signals)


@pytest.mark.requirement("BT-13", api="BacktestStore.save_result")
def test_streams_and_segments_are_read_once(backtests, signals):
    batches = signals.to_batches(max_chunksize=7)
    reader = pa.RecordBatchReader.from_batches(signals.schema, iter(batches))
    assert saved(backtests, symbol_signals=reader).symbol_signals.equals(signals)
    assert saved(backtests, symbol_signals=iter(batches)).symbol_signals.equals(signals)
    parts = [signals.slice(0, 10), signals.slice(10, 0), signals.slice(10)]
    assert saved(backtests, symbol_signals=parts).symbol_signals.equals(signals)
    assert saved(backtests, symbol_signals=batches[0]).symbol_signals.num_rows == 7


@pytest.mark.requirement("BT-20", api="BacktestStore.save_result")
def test_segments_that_drift_are_refused(backtests, signals):
    drifting = {
        "quantity is int64, not double": with_column(
            signals, "quantity", [1] * len(signals), pa.int64()
        ),
        "type is dictionary": signals.set_column(3, "type", signals["type"].dictionary_encode()),
        "columns": signals.drop_columns(["fee_amount"]),
    }
    for said, segment in drifting.items():
        with pytest.raises(InvalidValue, match=f"symbol_signals: .*schema in segment 1: {said}"):
            saved(backtests, symbol_signals=[signals, segment])
    with pytest.raises(InvalidValue, match="has a dict as segment 1"):
        saved(backtests, symbol_signals=[signals, {"a": 1}])


@pytest.mark.requirement("BT-20", api="BacktestStore.save_result")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop_columns(["fee_amount"]), r"symbol_signals.fee_amount: is missing; "),
        (
            lambda t: t.select(["symbol", "timestamp", "type", "entry_price", "exit_price"]),
            "symbol_signals.signal_index: is missing, and so are quantity, .*, status; expected",
        ),
        (lambda t: t.append_column("rsi", pa.nulls(len(t))), "symbol_signals.rsi: is no column"),
        (lambda t: t.append_column("type", t["type"]), "symbol_signals.type: is given twice"),
        (
            lambda t: with_column(t, "entry_price", ["x"] * len(t)),
            "symbol_signals.entry_price: cannot be read from string",
        ),
        (
            lambda t: with_column(t, "hold_bars", [2**40] * len(t)),
            "symbol_signals.hold_bars: .*int32",
        ),
        (
            lambda t: with_column(t, "hold_bars", [1.0] * len(t)),
            "symbol_signals.hold_bars: cannot be read from double",
        ),
        (
            lambda t: with_column(t, "quantity", [2**53 + 1] * len(t)),
            r"symbol_signals\[0\].quantity: holds an integer that has no equal float",
        ),
        (
            lambda t: with_column(t, "type", ["hold"] * len(t)),
            r"symbol_signals\[0\].type: cannot hold 'hold'; expected one of 'buy', 'sell'",
        ),
        (
            lambda t: with_column(t, "symbol", [*(["A"] * 9), *([None] * (len(t) - 9))]),
            r"symbol_signals\[9\].symbol: is required",
        ),
        (
            lambda t: with_column(t, "symbol", ["A\0"] * len(t)),
            r"symbol_signals\[0\].symbol: cannot hold 'A\\x00'",
        ),
    ],
)
def test_a_column_that_does_not_fit_is_named(backtests, signals, change, said):
    with pytest.raises(InvalidValue, match=said) as caught:
        saved(backtests, symbol_signals=change(signals))
    assert "BacktestResult" in str(caught.value)
    assert backtests.list_results() == []


@pytest.mark.requirement("BT-20", "Z-52", api="BacktestStore.save_result")
def test_integers_with_gaps_of_pandas_are_taken_as_its_message_says(backtests, signals):
    gaps = [None, *range(1, len(signals))]
    frame = with_column(signals, "hold_bars", pa.array(gaps, pa.int32())).to_pandas()
    with pytest.raises(InvalidValue, match=r"integers with gaps, frame\.astype") as caught:
        saved(backtests, symbol_signals=frame)
    assert '{"hold_bars": "Int32"}' in str(caught.value)
    found = saved(backtests, symbol_signals=frame.astype({"hold_bars": "Int32"}))
    assert found.symbol_signals["hold_bars"].to_pylist() == gaps


@pytest.mark.requirement("BT-20", api="BacktestStore.save_result")
def test_tuple_labels_and_cells_that_arrow_refuses_are_named(backtests, signals):
    frame = signals.to_pandas()
    labelled = frame.rename(columns={"quantity": ("quantity", "BTC")})
    with pytest.raises(InvalidValue, match=r"symbol_signals: has the column label .*'quantity',"):
        saved(backtests, symbol_signals=labelled)
    levels = frame.copy()
    levels.columns = pd.MultiIndex.from_product([["a"], frame.columns])
    with pytest.raises(InvalidValue, match="flatten them"):
        saved(backtests, symbol_signals=levels)
    cells = frame.assign(symbol=[(5, 20, "AAPL")] * len(frame))
    with pytest.raises(InvalidValue, match=r"symbol_signals\.symbol: ") as caught:
        saved(backtests, symbol_signals=cells)
    assert "BacktestResult" in str(caught.value)
    mixed = frame.assign(entry_price=[1.5, "x"] * (len(frame) // 2))
    with pytest.raises(InvalidValue, match=r"symbol_signals\.entry_price: cannot be read as Arrow"):
        saved(backtests, symbol_signals=mixed)
    indexed = frame.set_index("timestamp", drop=False).rename_axis("when")
    with pytest.raises(InvalidValue, match=r"symbol_signals\.when: is no column"):
        saved(backtests, symbol_signals=indexed)
    for no_table in (5, "signals.parquet", {"symbol": ["A"]}):
        with pytest.raises(InvalidValue, match="symbol_signals: cannot be read from"):
            saved(backtests, symbol_signals=no_table)


@pytest.mark.requirement("BT-22", api="BacktestStore.save_result")
def test_symbols_may_alternate_and_are_in_order_each_for_itself(backtests, signals, same):
    half = len(signals) // 2
    places = [n // 2 + (n % 2) * half for n in range(len(signals))]
    mixed = signals.take(places)
    assert saved(backtests, symbol_signals=mixed).symbol_signals.equals(mixed)
    parts = {s["symbol"]: s["signals"] for s in backtests.get_result(TASK)["symbols"]}
    assert [len(part) for part in parts.values()] == [half, half]
    assert [row["signal_index"] for row in parts["ETH/USDT"]] == [*range(1, half + 1)]
    assert backtests.verify(TASK).ok
    places[10], places[12] = places[12], places[10]
    with pytest.raises(InvalidValue, match=r"symbol_signals\[12\].timestamp: lies before"):
        saved(backtests, symbol_signals=signals.take(places))
    batches = [signals.slice(20, 1), signals.slice(5, 1)]  # order holds across batches too
    with pytest.raises(InvalidValue, match=r"symbol_signals\[1\].timestamp"):
        saved(backtests, symbol_signals=batches)


@pytest.mark.requirement("BT-21", api="BacktestStore.save_result")
def test_counts_and_symbols_of_the_tables_agree(backtests, original, as_tables):
    tables = as_tables(original())
    given = {name: tables[name] for name in (SUMMARY, SIGNALS, CURVE)}
    with pytest.raises(
        InvalidValue,
        match=r"total_signals: is 25 for 'BTC/USDT', whose rows in symbol_signals are 24",
    ):
        saved(backtests, **{**given, SIGNALS: given[SIGNALS].slice(1)})
    won = given[SUMMARY].schema.get_field_index("winning_signals")
    field = given[SUMMARY].schema.field(won)
    more = given[SUMMARY].set_column(won, field, pa.array([25, 25], field.type))
    with pytest.raises(InvalidValue, match="winning_signals: is 25 for 'BTC/USDT'"):
        saved(backtests, **{**given, SUMMARY: more})
    with pytest.raises(InvalidValue, match="record_count: is 3, but there are 50"):
        saved(backtests, **given, record_count=3)
    with pytest.raises(InvalidValue, match=r"symbol_summary.symbol: has rows of 'ETH/USDT'"):
        saved(backtests, **given, symbols=["BTC/USDT"])
    one = {**given, SUMMARY: given[SUMMARY].slice(0, 1), SIGNALS: given[SIGNALS].slice(0, 25)}
    with pytest.raises(InvalidValue, match=r"performance_curve.symbol: has rows of 'ETH/USDT'"):
        saved(backtests, **one)
    only = {SUMMARY: given[SUMMARY]}  # a summary may stand without its signals
    assert saved(backtests, **only).symbol_summary.equals(given[SUMMARY])
    saved(backtests, **given, symbols=["BTC/USDT", "ETH/USDT", "SOL/USDT"])
    assert backtests.fetch(TASK).symbols[-1] == "SOL/USDT"


@pytest.mark.requirement("BT-24", api="ResultSchema.adding")
def test_a_later_version_adds_columns_that_older_readers_pass_over(backtests, original, same):
    second = V1.adding("2.0", symbol_signals={"adverse_excursion": "real", "reason": "text"})
    old, new = original(), original(task_id="00000000-0000-0000-0000-000000000002")
    for number, signal in enumerate(new["symbols"][0]["signals"]):
        signal |= {"adverse_excursion": number / 2, "reason": "breakout"}
    backtests.save_result(old)
    saved_ = backtests.save_result(new, schema=second)
    assert saved_.record.metadata["schema_version"] == "2.0"
    assert same(backtests.get_result(saved_.task_id), new)
    assert same(backtests.get_result(TASK), old)
    table = backtests.tables(saved_.task_id).symbol_signals
    assert table.schema.names[-2:] == ["adverse_excursion", "reason"]
    assert backtests.verify(saved_.task_id).ok
    stream = backtests.scan(SIGNALS).read_all()  # as 1.0 has it
    assert stream.num_rows == 100
    assert stream.schema.names == ["task_id", *V1[SIGNALS].names]
    wide = backtests.scan(SIGNALS, schema=second, columns=["reason"]).read_all()
    assert wide["reason"].null_count == 75  # 50 of the old result, and one symbol of the new


@pytest.mark.requirement("BT-24", api="ResultSchema.adding")
def test_a_later_version_only_adds():
    for columns in ({"symbol_signals": {"type": "text"}}, {"nowhere": {"a": "real"}}):
        with pytest.raises(ValueError, match=r"expected tables|cannot be added"):
            V1.adding("2.0", **columns)
    with pytest.raises(ValueError, match="cannot be added as 'decimal'"):
        V1.adding("2.0", symbol_signals={"a": "decimal"})


def test_an_aware_bound_is_needed_where_time_is_asked_for(backtests, original):
    backtests.save_result(original())
    with pytest.raises(InvalidValue, match="since"):
        backtests.read(TASK, since=datetime(2024, 1, 1))  # noqa: DTZ001
    bound = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=8)
    assert backtests.read(TASK, until=bound).read_all().num_rows == 4
