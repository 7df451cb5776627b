"""Arrow tables in and out: exact, or refused by the name of the column."""

import math
import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import quantkeep
from quantkeep import InvalidValue, Query, Record, arrow, derived, field, record
from quantkeep.collection import SealedRow
from quantkeep.derived import Derived, Derives
from quantkeep.errors import Corrupt, TooLarge
from quantkeep.hosts import Hosts
from quantkeep.table import Table

NOON = datetime(2026, 1, 19, 12, 0, 0, 123456, tzinfo=UTC)
SEOUL = timezone(timedelta(hours=9))


@record("samples", log=True, stream=("mode",), identity=("uid",))
class Sample(Record):
    """One of every kind."""

    mode: Literal["paper", "live"] = "paper"
    uid: str | None = None
    text: str | None = None
    count: int | None = None
    real: float | None = None
    size: float | None = field(default=None, finite=True, between=(0, 1e6))
    price: Decimal | None = field(default=None, precision=(20, 8))
    open: bool | None = None
    at: datetime | None = None
    day: date | None = None
    id: UUID | None = None
    blob: bytes | None = None
    details: dict[str, Any] | None = None


@record("fills_", log=True)
class Fill(Derives):
    """With a number that follows from others."""

    qty: float
    price: float | None = None
    notional: float | None = None
    ratio: float | None = None

    derived = (
        Derived("notional", ("qty", "price"), lambda qty, price: qty * price, "qty * price"),
        Derived("ratio", ("qty", "price"), lambda qty, price: qty / price, "qty / price"),
    )


FULL = Sample(
    mode="live", uid="a", text="☕", count=-(2**63), real=-0.0, size=0.5,
    price=Decimal("-123456789012.00000001"), open=True, at=NOON, day=date(1, 1, 1),
    id=UUID(int=7), blob=b"\x00\xff", details={"b": [1, math.inf], "a": {"d": Decimal("0.10")}},
)  # fmt: skip


@pytest.fixture
def samples() -> Iterator[Table[Sample]]:
    with quantkeep.open("memory://", records=[Sample, Fill]) as keep:
        yield keep.table(Sample)


def _row(**column: Any) -> SealedRow:
    """The one row of a table with the column given as an Arrow array."""
    (row,) = arrow.rows(Sample.collection, pa.table(column), Hosts())
    return row


def _scalar(name: str, array: pa.Array) -> Any:
    return _row(**{name: array}).values[Sample.collection.places[name]]


def _refused(name: str, array: pa.Array) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        arrow.rows(Sample.collection, pa.table({name: array}), Hosts())
    assert caught.value.field == name
    return caught.value


def _append(table: Table[Any], source: Any) -> None:
    table.backend.commit(quantkeep.batch.one(table.append_arrow(source)))


@pytest.mark.requirement("X-1", "X-2", "X-3", api="Table.arrow")
def test_a_record_and_its_arrow_row_are_the_same_row(samples: Table[Sample]) -> None:
    samples.backend.commit(quantkeep.batch.one(samples.append([FULL, Sample()])))
    table = samples.arrow().read_all()
    again = [*arrow.rows(Sample.collection, table.drop_columns(["revision"]), Hosts())]
    assert again == samples.sealed([FULL, Sample()])
    assert table.column("revision").to_pylist() == [1, 1]  # one in each mode
    live = table.filter(pa.compute.field("mode") == "live").to_pylist()[0]
    assert live["at"] == NOON
    assert live["price"] == FULL.price
    assert live["day"] == FULL.day


def test_an_empty_table_keeps_its_schema(samples: Table[Sample]) -> None:
    table = samples.arrow().read_all()
    assert table.num_rows == 0
    assert table.schema.equals(arrow.schema(Sample.collection, envelope=("revision",)))
    assert table.schema.field("price").type == pa.decimal128(20, 8)
    assert table.schema.field("details").metadata == {b"quantkeep.kind": b"document"}
    _append(samples, table.drop_columns(["revision"]))
    assert samples.count() == 0


def test_the_stamps_come_along_when_asked_for(samples: Table[Sample]) -> None:
    samples.backend.commit(quantkeep.batch.one(samples.append([FULL])))
    reader = arrow.read(
        Sample.collection, samples.backend, Query(), envelope=("created_at", "updated_at")
    )
    (stored,) = samples.list()
    assert stored.envelope is not None
    assert reader.read_all().column("created_at").to_pylist() == [stored.envelope.created_at]


def test_reading_is_done_in_portions(samples: Table[Sample]) -> None:
    _append(samples, pa.table({"count": range(25)}))
    assert [b.num_rows for b in samples.arrow(batch_rows=10)] == [10, 10, 5]


def test_a_damaged_row_is_an_error_and_not_a_value(samples: Table[Sample]) -> None:
    _append(samples, pa.table({"count": range(3)}))
    samples.backend.backdoor().flip(Sample.collection, ("paper", 2), "count")
    with pytest.raises(Corrupt):
        samples.arrow().read_all()


def test_rows_can_be_iterated_again_from_a_reader_that_cannot() -> None:
    reader = pa.table({"count": range(30_000)}).to_reader(max_chunksize=7_000)
    rows = arrow.rows(Sample.collection, reader, Hosts())
    assert len(rows) == len([*rows]) == len([*rows]) == 30_000


def test_missing_columns_take_the_default_of_the_record() -> None:
    assert _row(count=[1]).values[0] == "paper"
    with pytest.raises(InvalidValue, match=r"Fill\.qty: is required"):
        arrow.rows(Fill.collection, pa.table({"price": [1.0]}), Hosts())


@pytest.mark.parametrize("name", ["tax", "revision", "__index_level_0__"])
def test_unknown_columns_are_refused_by_name(name: str) -> None:
    assert "drop it" in str(_refused(name, pa.array([1])))


def test_what_is_no_arrow_source_is_refused() -> None:
    with pytest.raises(InvalidValue, match="an Arrow source"):
        arrow.rows(Sample.collection, [{"count": 1}], Hosts())


# -- what widens ----------------------------------------------------------------------------------

MICROS = pa.timestamp("us", tz="UTC")


@pytest.mark.requirement("X-1", "X-2", api="Table.append_arrow")
@pytest.mark.parametrize(
    ("name", "array", "scalar"),
    [
        ("text", pa.array(["x"], pa.large_string()), "x"),
        ("text", pa.array(["x"], pa.string_view()), "x"),
        ("text", pa.array(["x"]).dictionary_encode(), "x"),
        ("text", pa.nulls(1), None),
        ("count", pa.array([255], pa.uint8()), 255),
        ("count", pa.array([2**63 - 1], pa.uint64()), 2**63 - 1),
        ("count", pa.array([Decimal(12)], pa.decimal128(38, 0)), 12),
        ("real", pa.array([0.5], pa.float16()), 0.5),
        ("real", pa.array([0.1], pa.float32()), struct.unpack("f", struct.pack("f", 0.1))[0]),
        ("real", pa.array([2**53 + 2]), 2.0**53 + 2),
        ("real", pa.array([-(2**63)]), -(2.0**63)),
        ("price", pa.array([-7], pa.int8()), "-7"),
        ("price", pa.array([0], pa.uint64()), "0"),
        ("price", pa.array([Decimal("1.500")]), "1.5"),
        ("price", pa.array([Decimal("100.000")], pa.decimal256(50, 30)), "100"),
        ("price", pa.array([Decimal("0.00000001")]), "0.00000001"),
        ("at", pa.array([1], pa.timestamp("s", tz="Asia/Seoul")), 1_000_000),
        ("at", pa.array([1_000], pa.timestamp("ns", tz="UTC")), 1),
        ("day", pa.array([date(2026, 1, 19)], pa.date64()), "2026-01-19"),
        ("id", pa.array([UUID(int=7).bytes], pa.binary(16)), str(UUID(int=7))),
        ("id", pa.array([UUID(int=7).bytes], pa.uuid()), str(UUID(int=7))),
        ("id", pa.array([UUID(int=7).hex.upper()]), str(UUID(int=7))),
        ("blob", pa.array([b"ab"], pa.binary(2)), b"ab"),
        ("blob", pa.array([b"ab"], pa.binary_view()), b"ab"),
        ("details", pa.array(['{ "b": 1, "a": 0.10 }']), '{"a":0.1,"b":1}'),
        ("details", pa.array(["{}"], pa.json_()), "{}"),
    ],
)
def test_wider_types_are_taken_when_nothing_is_lost(name: str, array: Any, scalar: Any) -> None:
    found = _scalar(name, array)
    assert (type(found), found) == (type(scalar), scalar)


def test_nan_is_not_null() -> None:
    rows = [*arrow.rows(Sample.collection, pa.table({"real": [math.nan, None, -0.0]}), Hosts())]
    place = Sample.collection.places["real"]
    found = [row.values[place] for row in rows]
    assert math.isnan(found[0])
    assert found[1] is None
    assert math.copysign(1, found[2]) == -1


@pytest.mark.requirement("X-2", "X-5", api="Table.append_arrow")
@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("text", pa.array([1]), "cannot be read from int64"),
        ("text", pa.array(["a\0b"]), "NUL"),
        ("text", pa.array([b"\xff"]).view(pa.string()), "not text"),
        ("uid", pa.array(["x" * 513]), "key of 513 bytes"),
        ("mode", pa.array(["demo"]), "one of 'paper', 'live'"),
        ("mode", pa.nulls(1), "is required"),
        ("count", pa.array([1.0]), "cast it"),
        ("count", pa.array([2**63], pa.uint64()), "64 bits"),
        ("count", pa.array([True]), "cannot be read from bool"),
        ("real", pa.array([2**53 + 1]), "no equal float"),
        ("real", pa.array([2**63 - 1]), "no equal float"),
        ("real", pa.array([2**64 - 1], pa.uint64()), "no equal float"),
        ("real", pa.array([Decimal("0.1")]), "not rounded"),
        ("size", pa.array([math.nan]), "a finite float"),
        ("size", pa.array([-1.0]), "from 0 to 1000000.0"),
        ("price", pa.array([0.1]), "cast to decimals"),
        ("price", pa.array([Decimal("0.000000001")]), "at most 12 digits before and 8 after"),
        ("price", pa.array([10**12]), "at most 12 digits before and 8 after"),
        ("open", pa.array([1]), "cannot be read from int64"),
        ("at", pa.array([1], pa.timestamp("us")), "tz_localize"),
        ("at", pa.array([1], pa.timestamp("ns", tz="UTC")), "finer than a microsecond"),
        ("at", pa.array([1]), "epoch numbers"),
        ("at", pa.array([2**62], MICROS), "out of range"),
        ("day", pa.array([NOON], MICROS), "date32"),
        ("day", pa.array([3_000_000], pa.int32()).cast(pa.date32()), "years 1 to 9999"),
        ("id", pa.array(["7"]), "no UUID"),
        ("blob", pa.array(["ab"]), "cannot be read from string"),
        ("details", pa.array(["{"]), "no JSON document"),
        ("details", pa.array([{"a": 1}]), "structs"),
    ],
)
def test_what_would_change_is_refused_by_name(name: str, array: Any, said: str) -> None:
    assert said in str(_refused(name, array))


def test_the_first_bad_row_is_named() -> None:
    values = pa.chunked_array([pa.array([0.5] * 5_000), pa.array([0.5, math.inf, math.nan])])
    assert "samples[5001].size" in str(_refused("size", values))
    instants = pa.array([0] * 700 + [1] + [0] * 300, pa.timestamp("ns", tz="UTC"))
    assert "samples[700].at" in str(_refused("at", instants))


def test_a_large_key_is_the_error_that_single_records_get() -> None:
    assert isinstance(_refused("uid", pa.array(["☕" * 200])), TooLarge)


# -- frames of others ------------------------------------------------------------------------------


def _counted(source: Any) -> list[Any]:
    places = [Sample.collection.places[name] for name in ("text", "real", "at")]
    rows = arrow.rows(Sample.collection, source, Hosts())
    return [tuple(row.values[place] for place in places) for row in rows]


EXPECTED = [("BTC", 1.5, 1_768_824_000_123_456), (None, None, 1_768_824_000_123_456)]


def test_pandas_frames() -> None:
    frame = pd.DataFrame({
        "text": pd.Series(["BTC", None], dtype="category"),
        "real": pd.Series([1.5, None], dtype="Float64"),
        "at": pd.to_datetime([NOON, NOON.astimezone(SEOUL)], utc=True),
    })  # fmt: skip
    assert _counted(frame) == EXPECTED


def test_a_nan_of_pandas_stays_a_nan() -> None:
    frame = pd.DataFrame({"real": [math.nan, 1.0], "count": [1, 2]})
    places = Sample.collection.places
    rows = [*arrow.rows(Sample.collection, frame, Hosts())]
    assert math.isnan(rows[0].values[places["real"]])  # type: ignore[arg-type]  # a float
    with pytest.raises(InvalidValue, match="a finite float"):
        arrow.rows(Sample.collection, pd.DataFrame({"size": [math.nan]}), Hosts())


def test_an_index_of_pandas_is_no_column() -> None:
    frame = pd.DataFrame({"count": [1]}, index=["BTC"])
    with pytest.raises(InvalidValue, match="__index_level_0__"):
        arrow.rows(Sample.collection, frame, Hosts())


def test_polars_frames() -> None:
    frame = pl.DataFrame(
        {"text": ["BTC", None], "real": [1.5, None], "at": [NOON, NOON]},
        schema_overrides={"text": pl.Categorical, "at": pl.Datetime("us", "UTC")},
    )
    assert _counted(frame) == EXPECTED


def test_duckdb_relations() -> None:
    connection = duckdb.connect()
    relation = connection.sql(
        "select * from (values ('BTC', 1.5::double, timestamptz '2026-01-19 12:00:00.123456+00'),"
        " (null, null, timestamptz '2026-01-19 12:00:00.123456+00')) as t(text, real, \"at\")"
    )
    assert _counted(relation) == EXPECTED


# -- what follows from other columns --------------------------------------------------------------


@pytest.fixture(params=[2, 1 << 16], ids=["in parts", "in one part"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long tables are looked at in parts, beside each other."""
    monkeypatch.setattr(derived, "_PART", request.param)


@pytest.mark.usefixtures("parts")
def test_what_follows_is_the_same_in_a_table_and_in_records() -> None:
    quantities = [0.1, 3.0, math.nan, 1e308, 5.0, 2.0]
    prices = [0.3, None, 1.0, 1e308, 0.0, 4.0]
    given = [None, None, None, None, None, 8.000001]
    table = pa.table({"qty": quantities, "price": prices, "notional": given})
    rows = [*arrow.rows(Fill.collection, table, Hosts())]
    made = [
        Fill(qty=q, price=p, notional=n)
        for q, p, n in zip(quantities, prices, given, strict=True)
    ]  # fmt: skip
    assert rows[:2] + rows[3:] == [Fill.collection.seal(m, Hosts()) for m in made[:2] + made[3:]]
    assert [m.notional for m in made] == [0.1 * 0.3, None, None, None, 0.0, 8.000001]
    assert made[4].ratio is None  # nothing follows from a division by zero
    assert rows[2].values[2:] == (None, None)


@pytest.mark.usefixtures("parts")
def test_what_contradicts_is_refused_in_a_table_and_in_records() -> None:
    with pytest.raises(InvalidValue, match=r"Fill\.notional: is 5\.0, but qty \* price is 6\.0"):
        Fill(qty=2.0, price=3.0, notional=5.0)
    for place in range(5):
        given = [3.0 if row < place else 5.0 for row in range(5)]
        table = pa.table({"qty": [1.0] * 5, "price": [3.0] * 5, "notional": given})
        with pytest.raises(InvalidValue, match=rf"fills_\[{place}\]\.notional: is 5\.0"):
            arrow.rows(Fill.collection, table, Hosts())


def test_a_changed_copy_is_derived_anew() -> None:
    fill = Fill(qty=2.0, price=3.0)
    assert fill.replace(qty=4.0).notional == 12.0
    assert fill.replace(qty=4.0, notional=12.001).notional == 12.001
