"""Every value, as Spark reads it from files and from the log."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from keeps import WIDEST, Cases, Stamped, Wide, assert_same, compact, key_of, opened, write
from pyspark.errors import ArithmeticException

from quantkeep_conformance.records import Specimen
from quantkeep_conformance.strategies import HARD_INTEGERS, HARD_REALS, HARD_TEXTS

INSTANTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1582, 10, 4, tzinfo=UTC),
    datetime(1582, 10, 15, tzinfo=UTC),
    datetime(1899, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


def specimens(prefix: str) -> list[Specimen]:
    """Each with one hard value."""
    values = [
        *({"real": value} for value in HARD_REALS),
        *({"text": value, "document": [value, {value: 1.5}]} for value in HARD_TEXTS),
        *({"integer": value} for value in HARD_INTEGERS),
        *({"instant": value, "day": value.date()} for value in INSTANTS),
        *(
            {"decimal": v}
            for v in (WIDEST, WIDEST.copy_negate(), Decimal("-1E-18"), Decimal("0E+3"))
        ),
        *({"price": v} for v in (Decimal("1E+11"), Decimal("-1E-8"), Decimal("0E+3"))),
        *({"blob": value} for value in (b"", b"\0\xff", bytes(range(256)))),
        *({"token": value} for value in (UUID(int=0), UUID(int=2**128 - 1))),
        *({"document": v} for v in ("text", 1, [], {"b": b"x", "d": Decimal("1.50")})),
        {"flag": True},
        {"flag": False},
        {},
    ]
    return [Specimen(name=f"{prefix} {n}", **value) for n, value in enumerate(values)]


def test_every_value_from_files_and_from_the_log(spark, table, tmp_path):
    path = tmp_path / "keep"
    with opened(path) as keep:
        write(keep, *specimens("file"), Stamped(name="file", created_at=INSTANTS[0], number=1))
        compact(keep, path)
        write(keep, *specimens("log"), Stamped(name="log", created_at=INSTANTS[-1], row="r"))
        for each in (Specimen, Stamped):
            found = table(spark, path, each.collection.name, key_of(each))
            assert assert_same(found, keep, each) in (2, 2 * len(specimens("")))


def test_nan_is_asked_for_by_name(spark, table, tmp_path, pushed):
    """As the page says: statistics know of no NaN, so = and > do not find it in every file."""
    path = tmp_path / "keep"
    with opened(path) as keep:
        write(keep, *specimens("file"))
        compact(keep, path)
        found = table(spark, path, "kit_specimens", ["name"])
        assert found.where("isnan(real)").count() == 1
        assert found.where("real = 0.0").count() == 2
        if not pushed:
            assert found.where("real = double('NaN')").count() == 1


# -- what the page says of limits ------------------------------------------------------------------


def test_more_digits_than_spark_has(spark, table, tmp_path):
    """Refused, never rounded; the other columns can be read."""
    path = tmp_path / "keep"
    with opened(path) as keep:
        write(keep, Wide(name="a", figure=Decimal(10) ** 39), Wide(name="b"))
        compact(keep, path)
        with pytest.raises(ArithmeticException, match="50 exceeds max precision 38"):
            table(spark, path, "wide", ["name"])
        write(keep, Wide(name="c", figure=Decimal(10) ** 39))
        rows = table(spark, path, "wide", ["name"], "name STRING, revision BIGINT").collect()
        assert sorted(map(tuple, rows)) == [("a", 1), ("b", 2), ("c", 3)]


def test_columns_that_differ_in_case_alone(spark, table, tmp_path):
    path = tmp_path / "keep"
    with opened(path) as keep:
        write(keep, Cases(name="a", Name="A"))
        compact(keep, path)
        write(keep, Cases(name="b", Name="B"))
        spark.conf.set("spark.sql.caseSensitive", "true")
        try:
            assert assert_same(table(spark, path, "cases", ["name"]), keep, Cases) == 2
        finally:
            spark.conf.unset("spark.sql.caseSensitive")


def test_instants_are_the_same_in_every_zone(spark, table, tmp_path):
    path = tmp_path / "keep"
    with opened(path) as keep:
        write(keep, *(Specimen(name=f"f{n}", instant=i) for n, i in enumerate(INSTANTS)))
        compact(keep, path)
        write(keep, *(Specimen(name=f"l{n}", instant=i) for n, i in enumerate(INSTANTS)))
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        found = table(spark, path, "kit_specimens", ["name"])
        seen = found.selectExpr("name", "unix_micros(instant)").collect()
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
    epoch, step = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    wanted = [(i - epoch) // step for i in INSTANTS]
    assert [micros for _, micros in sorted(map(tuple, seen))] == wanted * 2


def test_a_collection_without_files_needs_a_schema(spark, table, tmp_path):
    path = tmp_path / "keep"
    with opened(path) as keep:
        compact(keep, path)
        write(keep, Cases(name="only in the log"))
        schema = "name STRING, revision BIGINT, created_at TIMESTAMP"
        (row,) = table(spark, path, "cases", ["name"], schema).collect()
        assert tuple(row)[:2] == ("only in the log", 1)
