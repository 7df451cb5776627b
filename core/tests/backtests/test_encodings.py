"""How tables are kept: fewer bytes, and every one of them back bit for bit."""

import math
import random
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantkeep.backtests import (
    COMPACT,
    CURVE,
    SIGNALS,
    SNAPPY,
    STANDARD,
    V1,
    Encoding,
    _derivations,
)
from quantkeep.backtests._decimals import bits
from quantkeep.errors import Corrupt, InvalidValue

TASK = "550e8400-e29b-41d4-a716-446655440000"
META = {"task_id": TASK, "strategy": "s", "start_date": "2024-01-01", "end_date": "2024-12-31"}


def curve(equity, drawdown=None, pnl=None, pct=None, symbols=None) -> pa.Table:
    count = len(equity)
    return pa.table(
        {
            "symbol": symbols or ["A"] * count,
            "idx": pa.array(range(count), pa.int32()),
            "timestamp": pa.array([n * 3_600_000_000 for n in range(count)], pa.timestamp("us")),
            "equity": pa.array(equity, pa.float64()),
            "drawdown": pa.array(drawdown or [None] * count, pa.float64()),
            "cumulative_pnl": pa.array(pnl or [None] * count, pa.float64()),
            "cumulative_pnl_pct": pa.array(pct or [None] * count, pa.float64()),
        }
    )


def walk(count: int, seed: int = 1, digits: int | None = None) -> list[float]:
    noise = random.Random(seed)
    steps = (1 + noise.gauss(0, 0.001) for _ in range(count))
    equity = accumulate(steps, lambda e, step: e * step, initial=100_000.0)
    return [e if digits is None else round(e, digits) for e in equity][1:]


def peaks(equity):
    return accumulate(equity, max)


def stored(store, table: pa.Table, encoding=COMPACT):
    """Saved, read back, held against what went in bit for bit; what is said of its file."""
    saved = store.save_result({**META, CURVE: table}, encoding=encoding)
    found = store.tables(TASK).performance_curve
    assert found.select(["symbol", "idx", "timestamp"]).equals(table.select([0, 1, 2]))
    for name in table.schema.names[3:]:
        assert found[name].is_null().equals(table[name].is_null())
        assert bits(found[name].drop_null()).equals(bits(table[name].drop_null()))
    assert store.verify(TASK).ok
    return saved.record.files[CURVE]


def rules(said) -> dict[str, str]:
    return {rule["column"]: rule["formula"] for rule in said.get("rules", ())}


@pytest.mark.requirement("Z-55", "BT-12", api="Encoding.derive")
@pytest.mark.parametrize(
    ("column", "reckon"),
    [
        ("drawdown", lambda e, p, s: (p - e) / p * 100),
        ("drawdown", lambda e, p, s: (1 - e / p) * 100),
        ("drawdown", lambda e, p, s: 100 * (p - e) / p),
        ("drawdown", lambda e, p, s: (e - p) / p * -100),
        ("drawdown", lambda e, p, s: (e / p - 1) * -100),
        ("cumulative_pnl", lambda e, p, s: e - s),
        ("cumulative_pnl_pct", lambda e, p, s: (e - s) / s * 100),
        ("cumulative_pnl_pct", lambda e, p, s: (e / s - 1) * 100),
        ("cumulative_pnl_pct", lambda e, p, s: (e - s) * 100 / s),
        ("cumulative_pnl_pct", lambda e, p, s: (e - s) / (s / 100)),
    ],
)  # fmt: skip
def test_a_column_that_follows_is_left_out_and_comes_back(backtests, column, reckon):
    equity = [100_003.37, *walk(400)]
    values = [reckon(e, p, equity[0]) for e, p in zip(equity, peaks(equity), strict=True)]
    place = {"drawdown": "drawdown", "cumulative_pnl": "pnl", "cumulative_pnl_pct": "pct"}[column]
    pnl = {} if place == "pnl" else {"pnl": [e - equity[0] for e in equity]}
    said = stored(backtests, curve(equity, **{**pnl, place: values}))
    assert column in rules(said)  # by this formula, or one that gives the same bits


@pytest.mark.requirement("Z-55", api="Encoding.derive")
@pytest.mark.parametrize("digits", [0, 2, 4])
def test_rounded_columns_follow_too_however_they_were_rounded(backtests, digits):
    equity = walk(600, digits=2)
    start = 100_000.0
    pnl = [round(e - start, digits) for e in equity]
    pct = [round(v / start * 100, digits) for v in pnl]
    down = [round((p - e) / p * 100, digits) for e, p in zip(equity, peaks(equity), strict=True)]
    said = stored(backtests, curve(equity, down, pnl, pct))
    assert set(rules(said)) == {"drawdown", "cumulative_pnl", "cumulative_pnl_pct"}
    whole = stored(backtests, curve(equity, down, pnl, pct), STANDARD)
    assert said["file_size_bytes"] < whole["file_size_bytes"] / 2


@pytest.mark.requirement("Z-55", api="Encoding.derive")
@given(
    values=st.lists(
        st.one_of(
            st.floats(-1e12, 1e12),
            st.integers(-(10**9), 10**9).map(lambda n: n / 1000),  # ties among them
            st.sampled_from([-0.0, -1e-9, 0.5, 2.675, math.nan, math.inf]),
        ),
        min_size=1,
    ),
    digits=st.integers(0, 6),
)
def test_columns_are_rounded_as_python_rounds(values, digits):
    expected = [round(v, digits) if math.isfinite(v) else v for v in values]
    found = _derivations._round_decimal(pa.array(values, pa.float64()), digits)
    assert bits(found).equals(bits(pa.array(expected, pa.float64())))


@pytest.mark.requirement("Z-55", api="Encoding.derive")
def test_a_column_that_does_not_follow_is_stored(backtests):
    equity = walk(400)
    down = [(p - e) / p * 100 for e, p in zip(equity, peaks(equity), strict=True)]
    pnl = [e - equity[0] for e in equity]
    assert set(rules(stored(backtests, curve(equity, down, pnl)))) == {"drawdown", "cumulative_pnl"}
    noisy = [*down[:399], down[399] + 1e-12]
    assert set(rules(stored(backtests, curve(equity, noisy, pnl)))) == {"cumulative_pnl"}
    holes = [*pnl[:200], None, *pnl[201:]]
    assert set(rules(stored(backtests, curve(equity, down, holes)))) == {"drawdown"}
    assert rules(stored(backtests, curve([*equity[:9], None, *equity[10:]], down, pnl))) == {}
    assert rules(stored(backtests, curve(equity[:20], down[:20], pnl[:20]))) == {}  # too few
    strange = [float("nan"), *equity[1:]]
    stored(backtests, curve(strange, down, pnl))
    assert rules(stored(backtests, curve(equity, down, pnl), Encoding(derive=False))) == {}


@pytest.mark.requirement("Z-55", api="Encoding.derive")
def test_what_followed_until_a_later_row_group_is_written_again_whole(backtests):
    """The choice is made by the first row group; what comes later may not keep to it."""
    equity = walk(1_000)
    down = [(p - e) / p * 100 for e, p in zip(equity, peaks(equity), strict=True)]
    pnl = [e - equity[0] for e in equity]
    small = Encoding(row_group_rows=100)
    assert set(rules(stored(backtests, curve(equity, down, pnl), small))) == {
        "drawdown", "cumulative_pnl",
    }  # fmt: skip
    later = [*pnl[:950], *(v + 1 for v in pnl[950:])]
    assert set(rules(stored(backtests, curve(equity, down, later), small))) == {"drawdown"}
    twice = [*down[:450], 7.0, *down[451:]]
    assert rules(stored(backtests, curve(equity, twice, later), small)) == {}


@pytest.mark.requirement("Z-55", api="Encoding.derive")
def test_symbols_each_have_their_own_peak_and_start(backtests):
    parts = [walk(300, seed) for seed in range(4)]
    symbols = [name for name, part in zip("DACB", parts, strict=True) for _ in part]
    equity = [e for part in parts for e in part]
    pnl = [e - part[0] for part in parts for e in part]
    down = [(p - e) / p * 100 for part in parts for e, p in zip(part, peaks(part), strict=True)]
    table = curve(equity, down, pnl, symbols=symbols)
    for rows in (90, 300, 1_000):
        said = stored(backtests, table, Encoding(row_group_rows=rows))
        assert set(rules(said)) == {"drawdown", "cumulative_pnl"}
    mixed = table.take([n // 4 + n % 4 * 300 for n in range(1_200)])
    order = mixed.set_column(2, "timestamp", table["timestamp"])
    assert rules(stored(backtests, order, Encoding(row_group_rows=90))) == {}


@pytest.mark.requirement("Z-55", "Z-6", api="BacktestStore.verify")
def test_what_is_computed_again_is_held_against_its_digest(backtests, monkeypatch):
    equity = walk(200)
    down = [(p - e) / p * 100 for e, p in zip(equity, peaks(equity), strict=True)]
    stored(backtests, curve(equity, down))
    other = {"drawdown": {"(peak - equity) / peak * 100": lambda i: i.peak}}
    monkeypatch.setattr(_derivations, "FORMULAS", other)
    with pytest.raises(Corrupt, match="is not what was saved"):
        backtests.read(TASK, CURVE, columns=["drawdown"]).read_all()
    assert "is not what was saved" in backtests.verify(TASK).problems[0]
    assert backtests.read(TASK, CURVE, columns=["equity"]).read_all().num_rows == 200


@pytest.mark.requirement("Z-55", "BT-12", api="Encoding.decimals")
def test_short_decimals_are_kept_as_decimals(backtests):
    equity = walk(3_000, digits=2)
    said = stored(backtests, curve(equity))
    plain = stored(backtests, curve(equity), Encoding(decimals=False))
    assert said["decimals"]["equity"] == 2
    assert said["file_size_bytes"] < plain["file_size_bytes"] * 0.75
    later = Encoding(row_group_rows=1_000)
    for odd in (float("nan"), float("inf"), 0.1 + 0.2, 2.0**60):
        for encoding in (COMPACT, later):
            said = stored(backtests, curve([*equity, odd]), encoding)
            assert "equity" not in said.get("decimals", {})
    assert stored(backtests, curve([*equity, None]), later)["decimals"]["equity"] == 2


@pytest.mark.requirement("Z-55", "X-1", api="Encoding.decimals")
def test_negative_zeros_among_decimals_stay_negative(backtests):
    """Rounding a small loss gives -0.0, and no decimal is that."""
    values = [-0.0 if n % 7 == 0 else 0.0 if n % 5 == 0 else n / 4 for n in range(3_000)]
    for rows in (1_000, 100_000):
        for column in (values, [1.5] * 2_500 + [-0.0] * 500, [-0.0] * 3_000, [None, -0.0] * 50):
            said = stored(backtests, curve(column), Encoding(row_group_rows=rows))
            assert said["zeros"] == ["equity"]
    assert "zeros" not in stored(backtests, curve([0.0, 1.5] * 500))


@pytest.mark.requirement("BT-11", api="SNAPPY")
def test_snappy_in_row_groups_of_ten_thousand_can_be_chosen(backtests, keep):
    table = curve(walk(25_000))
    saved = backtests.save_result({**META, CURVE: table}, encoding=SNAPPY)
    assert saved.record.metadata["compression"] == "snappy"
    assert backtests.tables(TASK).performance_curve.equals(table)
    footer = pq.ParquetFile(_file(backtests, saved, CURVE)).metadata
    assert [footer.row_group(n).num_rows for n in range(3)] == [10_000, 10_000, 5_000]
    assert {footer.row_group(0).column(n).compression for n in range(7)} == {"SNAPPY"}
    assert pq.read_table(_file(backtests, saved, CURVE)).equals(table)


def _file(store, saved, table):
    from quantkeep.blobs import BlobRef

    return store._blobs.open(BlobRef.from_document(saved.record.files[table]["file"]))


@pytest.mark.requirement("Z-55", "BT-11", api="Encoding")
@pytest.mark.parametrize("codec", ["zstd", "snappy", "gzip", "brotli", "lz4", "none"])
def test_every_codec_gives_everything_back(backtests, original, same, codec):
    result = original(points=300)
    encoding = Encoding(codec=codec, level=None, row_group_rows=50)
    saved = backtests.save_result(result, encoding=encoding)
    assert same(backtests.get_result(TASK), result)
    pq.ParquetFile(_file(backtests, saved, SIGNALS)).read()  # plain Parquet to anybody


@pytest.mark.parametrize(
    "said",
    [{"level": 23}, {"codec": "snappy"}, {"row_group_rows": 0}, {"row_group_rows": 2**21}],
)
def test_an_encoding_that_cannot_be_is_refused(said):
    with pytest.raises(InvalidValue):
        Encoding(**said)


@pytest.mark.requirement("BT-12", api="BacktestStore.save_result")
def test_a_rounded_result_takes_a_thirtieth_of_its_json(backtests, original):
    """The design says 97 to 98 %; see docs/backtest-encoding.md for what real curves give."""
    import json

    result = original(symbols=("A", "B", "C"), signals=800, points=4_000)
    for symbol in result["symbols"]:
        for signal in symbol["signals"]:
            signal["return_pct"] = round(signal["return_pct"], 2)
        peak = 0.0
        for point in symbol["performance_curve"]:
            equity = point["equity"] = round(point["equity"], 2)
            peak = max(peak, equity)
            point["drawdown"] = round((peak - equity) / peak * 100, 2)
            point["cumulative_pnl"] = round(equity - 100_000, 2)
            point["cumulative_pnl_pct"] = round((equity - 100_000) / 1_000, 4)
    size = len(json.dumps(result, separators=(",", ":")))
    ours = backtests.save_result(result).record.file_size
    design = backtests.save_result(result, encoding=SNAPPY).record.file_size
    assert ours < size / 30
    assert design > size / 15


def test_schemas_of_encodings_do_not_differ(backtests, original):
    for encoding in (COMPACT, STANDARD, SNAPPY):
        backtests.save_result(original(), encoding=encoding)
        assert backtests.read(TASK, CURVE).schema == V1[CURVE].arrow
