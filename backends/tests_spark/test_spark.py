"""What Apache Spark reads in the files of a keep is what quantkeep answers, row for row."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pyspark.errors import ArithmeticException
from pyspark.sql import DataFrame

import quantkeep
from quantkeep import Keep, Record, field, record
from quantkeep.errors import StillReferenced
from quantkeep.opening import store_classes
from quantkeep_backends.parquet import _bulk, _compaction, _segments
from quantkeep_backends.parquet._columns import stamp_names
from quantkeep_conformance.exactness import same
from quantkeep_conformance.records import KIT_RECORDS, Entry, Seat, Specimen, WiderEntry
from quantkeep_conformance.samples import made, minimal, populated, with_targets
from quantkeep_conformance.strategies import HARD_INTEGERS, HARD_REALS, HARD_TEXTS
from quantkeep_conformance.suites.helpers import known

STORES = {name: cls.records for name, cls in store_classes().items()} | {"kit": KIT_RECORDS}
KNOWN = {r.collection.name: r for records in STORES.values() for r in records}
RECORDS = [r for records in STORES.values() for r in records]
WIDEST = Decimal("99999999999999999999.999999999999999999")
INSTANTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1582, 10, 4, tzinfo=UTC),
    datetime(1582, 10, 15, tzinfo=UTC),
    datetime(1899, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
]


@record("wide", key=("name",))
class Wide(Record):
    """A decimal of more digits than Spark has."""

    name: str
    figure: Decimal | None = field(default=None, precision=(50, 10))


@record("cases", key=("name",))
class Cases(Record):
    """Two columns that differ in case alone."""

    name: str
    Name: str | None = None


@record("stamped", key=("name",))
class Stamped(Record):
    """Columns that are called as those of the store and of the recipe are."""

    name: str
    created_at: datetime | None = None
    number: int = 0
    row: str | None = None
    gone: bool = True


ALL = (*KIT_RECORDS, Wide, Cases, Stamped)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """A hundred rows are many: segments, row groups and large appends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bulk, "LARGE", 50)
        patch.setattr(_segments, "GROUP_ROWS", 100)
        patch.setattr(_segments, "NEWEST_ROWS", 100)
        patch.setattr(_compaction, "NEWEST_ROWS", 100)
        patch.setattr(_segments, "SEGMENT_ROWS", 400)
        patch.setattr(_compaction, "SEGMENT_ROWS", 400)
        yield


def opened(path: Path, *records: type[Record]) -> Keep:
    return quantkeep.open(f"parquet:///{path}", records=records or ALL)


def compact(keep: Keep, path: Path) -> None:
    """With commits before the manifest left in the log, and in every folder a file too many."""
    keep.backend.compact()
    for folder in (path / "segments").glob("*"):
        segment = next(folder.glob("*.parquet"))
        shutil.copyfile(segment, segment.with_name("0rphan.parquet"))


def write(keep: Keep, *records: Record) -> None:
    tables = ((keep.table(type(each)), each) for each in records)
    keep.commit(*(t.append([r]) if r.collection.log else t.put(r) for t, r in tables))


def delete(keep: Keep, one: Record) -> None:
    key = [getattr(one, name) for name in one.collection.key_columns]
    keep.commit(keep.table(type(one)).delete(*key))


# -- what is compared ------------------------------------------------------------------------------


def key_of(record_class: type[Record]) -> list[str]:
    """The key as files call it."""
    collection = record_class.collection
    if collection.log:
        return [*collection.stream, stamp_names(collection)[0]]
    return [*collection.key]


def answered(keep: Keep, record_class: type[Record]) -> list[dict[str, Any]]:
    """What quantkeep answers: the columns by way of Arrow, and the store's own."""
    stored, names = keep.table(record_class), record_class.collection.names
    stamps = stamp_names(record_class.collection)
    columns = stored.arrow().read_all().select([*names]).to_pylist()
    envelopes = [each.envelope for each in stored.scan()]
    return [
        {**row, **dict(zip(stamps, _stamps(envelope), strict=True))}
        for row, envelope in zip(columns, envelopes, strict=True)
    ]


def _stamps(envelope: Any) -> tuple[Any, ...]:
    return (
        envelope.revision, envelope.created_at, envelope.updated_at, envelope.schema_version,
    )  # fmt: skip


def assert_same(found: DataFrame, keep: Keep, record_class: type[Record]) -> int:
    """Fail unless both have the same rows, bit for bit; how many there are."""
    key = key_of(record_class)
    rows = by_key(found.toArrow().to_pylist(), key)
    wanted = by_key(answered(keep, record_class), key)
    assert rows.keys() == wanted.keys()
    unlike = {k: (rows[k], wanted[k]) for k in wanted if not same(rows[k], wanted[k])}
    assert not unlike
    return len(rows)


def by_key(rows: list[dict[str, Any]], key: list[str]) -> dict[str, dict[str, Any]]:
    found = {repr([row[name] for name in key]): row for row in rows}
    assert len(found) == len(rows), "a row twice"
    return found


# -- every store -----------------------------------------------------------------------------------


def add(keep: Keep, number: int) -> None:
    """Of every record one in which all is said, and one in which nothing is."""
    for place, each in enumerate(RECORDS, number):
        sparse = {"hall": f"{place}"} if each is Seat else {}  # no two that are nowhere
        write(keep, *with_targets(populated(each, place), KNOWN, place))
        write(keep, *with_targets(minimal(each, place + 500, **sparse), KNOWN, place + 500))


def change(keep: Keep) -> None:
    """Put other content under a key of each collection that allows it, and delete another."""
    for place, each in enumerate(RECORDS, 9000):
        collection = each.collection
        first, *_, last = keep.table(each).list()
        if not (collection.log or collection.immutable):
            key = {name: getattr(first, name) for name in collection.key}
            other = made(each, {**populated(each, place).as_dict(), **key})
            *targets, other = with_targets(other, KNOWN, place)
            write(keep, *(t for t in targets if known(keep, t) is None), other)
        with contextlib.suppress(StillReferenced):
            delete(keep, last)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, small: None) -> Iterator[tuple[Keep, Path]]:
    """Compacted twice; changes, deletions and long appends before and after."""
    path = tmp_path_factory.mktemp("filled") / "keep"
    with opened(path) as keep:
        add(keep, 0)
        compact(keep, path)
        keep.backend.remove_garbage(keep.backend.now() + 1)
        add(keep, 1000)
        change(keep)
        keep.commit(keep.table(Entry).append(entries(0, 1500)))
        compact(keep, path)
        add(keep, 2000)
        change(keep)
        keep.commit(keep.table(Entry).append(entries(1500, 1700)))
        for one in keep.table(Entry).list()[600:1650:50]:
            delete(keep, one)
        yield keep, path


def entries(start: int, end: int) -> list[Entry]:
    return [
        Entry(
            number=n,
            uid=f"uid {n}",
            symbol=f"S{n * 7 % 11}",
            happened_at=datetime(1700, 1, 1, tzinfo=UTC) + timedelta(days=n * 61),
            price=Decimal(n) / 8,
        )
        for n in range(start, end)
    ]


@pytest.mark.parametrize("store", STORES)
def test_every_row_of_every_store(spark, table, filled, store):
    keep, path = filled
    for each in STORES[store]:
        found = table(spark, path, each.collection.name, key_of(each))
        assert assert_same(found, keep, each) >= 3


def test_what_is_there_was_not_simple(filled):
    """Orphans, commits on both sides of the manifest, several files, deletions, long appends."""
    _, path = filled
    current = json.loads((path / "current.json").read_text())
    files = current["tables"]["kit_entries"]
    assert len(files) >= 3
    assert len([*(path / "segments" / "kit_entries").iterdir()]) > len(files) + 2
    commits = [p.read_text().splitlines()[1] for p in sorted((path / "_log").iterdir())]
    said = [json.loads(commit) for commit in commits]
    behind = [each for each in said if each["number"] > current["commit"]]
    assert len(said) > len(behind) + 100
    assert sum("removed" in effect for each in behind for effect in each.get("effects", ())) > 30
    assert any("segments" in each for each in behind)


# -- every value -----------------------------------------------------------------------------------


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


def test_put_and_deleted_in_the_log_again_and_again(spark, table, tmp_path):
    """What was last holds, also where one commit says several things of a key."""
    path, key = tmp_path / "keep", [*KNOWN["kit_coordinates"].collection.key]
    some = [populated(KNOWN["kit_coordinates"], n) for n in range(6)]
    with opened(path) as keep:
        write(keep, *some[:4])
        compact(keep, path)
        delete(keep, some[0])
        write(keep, some[0].replace(text="again"), some[4], some[5])
        delete(keep, some[1])
        delete(keep, some[4])
        write(keep, some[2].replace(text="new"))
        write(keep, some[2].replace(text="newer"))
        found = table(spark, path, "kit_coordinates", key)
        assert assert_same(found, keep, type(some[0])) == 4


def test_columns_that_were_added_later(spark, table, tmp_path):
    """Most files stay without them, one of which Spark would take its columns from."""
    path, key = tmp_path / "keep", key_of(Entry)
    with opened(path) as keep:
        keep.commit(keep.table(Entry).append(entries(0, 4000)))
        compact(keep, path)
    with opened(path, WiderEntry) as keep:
        stored = keep.table(WiderEntry)
        wider = [WiderEntry(number=n, venue=f"V{n % 2}", fee=WIDEST) for n in range(120)]
        keep.commit(stored.append(wider))
        compact(keep, path)
        keep.commit(stored.append(wider))
        keep.commit(stored.append(wider[:3]))
        found = table(spark, path, "kit_entries", key)
        assert assert_same(found, keep, WiderEntry) == 4243
        assert found.where("venue IS NULL").count() == 4000
    names = json.loads((path / "current.json").read_text())["tables"]["kit_entries"]
    columns = {tuple(sorted(spark.read.parquet(f"{path}/{name}").columns)) for name in names}
    assert len(columns) == 2, "no file is as it was before"


# -- filters ---------------------------------------------------------------------------------------


@pytest.fixture(params=["true", "false"], ids=["pushed down", "not pushed down"])
def pushed(request, spark):
    """Whether filters reach the files: row groups are passed over by statistics, or none is."""
    name = "spark.sql.parquet.filterPushdown"
    spark.conf.set(name, request.param)
    yield request.param == "true"
    spark.conf.unset(name)


FILTERS = {
    "symbol = 'S3'": lambda e: e.symbol == "S3",
    "symbol = 'S3' AND happened_at < TIMESTAMP '1850-01-01 00:00:00'": lambda e: (
        e.symbol == "S3" and e.happened_at < datetime(1850, 1, 1, tzinfo=UTC)
    ),
    "uid = 'uid 1234'": lambda e: e.uid == "uid 1234",
    "uid IN ('uid 3', 'uid 1620', 'no such')": lambda e: e.uid in ("uid 3", "uid 1620"),
    "price BETWEEN 100 AND 101.5": lambda e: e.price is not None and 100 <= e.price <= 101.5,
    "revision > 1600": lambda e: e.revision > 1600,
    "symbol IS NULL": lambda e: e.symbol is None,
}


@pytest.mark.parametrize("question", FILTERS)
def test_filters_find_the_same(spark, table, filled, pushed, question):
    keep, path = filled
    wanted = [e for e in keep.table(Entry).scan() if FILTERS[question](e)]
    found = table(spark, path, "kit_entries", key_of(Entry)).where(question)
    rows = found.select("account", "mode", "revision").collect()
    assert wanted
    assert {tuple(row) for row in rows} == {(e.account, e.mode, e.revision) for e in wanted}
    assert len(rows) == len(wanted)


@pytest.mark.parametrize(
    "question", ["uid = 'uid 1234'", "revision > 1400", "happened_at < TIMESTAMP '1720-01-01'"]
)
def test_filters_pass_over_row_groups(spark, filled, pushed, question):
    """Spark takes our statistics and bloom filters at their word: so they must be right."""
    _, path = filled
    names = json.loads((path / "current.json").read_text())["tables"]["kit_entries"]
    stored = spark.read.parquet(*(f"{path}/{name}" for name in names))
    everything = stored.count()
    asked = stored.where(question)
    assert asked.collect()
    scanned = rows_scanned(asked)
    assert (scanned < everything / 2) if pushed else (scanned == everything)


def rows_scanned(frame: DataFrame) -> int:
    """How many rows its scan of the files gave to be filtered."""
    scan = frame._jdf.queryExecution().executedPlan().collectLeaves().head()
    rows: int = scan.metrics().apply("numOutputRows").value()
    return rows


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
