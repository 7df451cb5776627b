"""SQLite answers as the model does: random questions over values chosen to be difficult."""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import attrs
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from quantkeep import Record, field, record, schema
from quantkeep.batch import Append, Batch, Delete, Put
from quantkeep.collection import Collection, SealedRow, StoredRow
from quantkeep.columns import Column, Kind
from quantkeep.hookspecs import Opening
from quantkeep.hosts import Hosts
from quantkeep.query import Condition, Exists, Measure, Per, Query, Tally, Where
from quantkeep.url import Url
from quantkeep_backends._sql import conditions
from quantkeep_backends.memory import MemoryBackend
from quantkeep_backends.sqlite import reading
from quantkeep_backends.sqlite.backend import SqliteBackend
from quantkeep_backends.sqlite.opening import open_backend
from quantkeep_backends.sqlite.streams import Seen

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@record("hard_records", key=("name", "part"), stream=("part",), indexes=[("real",), ("decimal",)])
class HardRecord(Record):
    name: str
    part: int | None = None
    text: str | None = field(default=None, index=True)
    integer: int | None = None
    real: float | None = None
    decimal: Decimal | None = None
    flag: bool | None = None
    instant: datetime | None = field(default=None, index=True)
    day: date | None = None
    token: UUID | None = None
    blob: bytes | None = None
    document: Any = None
    revision_: int | None = None  # names that the table has of its own
    created_at: datetime | None = None


@record(
    "hard_entries",
    log=True,
    stream=("account", "mode"),
    identity=("uid",),
    indexes=[("text", "real"), ("integer",), ("mode", "instant"), ("mode", "flag")],
)
class HardEntry(Record):
    account: str | None = None
    mode: Literal["paper", "live"] = "paper"
    uid: str | None = None
    text: str | None = field(default=None, index=True)
    integer: int | None = None
    real: float | None = field(default=None, index=True)
    decimal: Decimal | None = None
    flag: bool | None = None
    instant: datetime | None = field(default=None, index=True)
    day: date | None = None
    token: UUID | None = None
    blob: bytes | None = None
    document: Any = None
    digest: str | None = None


NAN_WITH_PAYLOAD = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]
TEXTS = [
    "",
    "a",
    "ab",
    "abc",
    "b",
    "A",
    "é",
    "a%",
    "a_",
    "'",
    "\ud7ff",
    "\ue000",
    "\U0010ffff",
    "😀",
]
POOLS: dict[Kind, list[Any]] = {
    Kind.TEXT: TEXTS,
    Kind.INTEGER: [0, 1, -1, 5, 2**53 + 1, 2**63 - 1, -(2**63)],
    Kind.REAL: [
        0.0, -0.0, 1.0, -1.5, 0.1, 0.2, 1e300, -1e300, 5e-324, math.inf, -math.inf, math.nan,
        NAN_WITH_PAYLOAD,
    ],
    Kind.DECIMAL: [
        *map(Decimal, ("0", "1", "-1", "1.5", "1.49", "-1.5", "-1.49", "10", "9", "-0.5", "0.1")),
        Decimal("0.000000000000000001"),
        Decimal("12345678901234567890.123456789012345678"),
        Decimal("-12345678901234567890.123456789012345678"),
    ],
    Kind.BOOLEAN: [True, False],
    Kind.TIMESTAMP: [
        EPOCH,
        EPOCH - timedelta(microseconds=1),
        EPOCH + timedelta(hours=1),
        EPOCH - timedelta(hours=25, microseconds=7),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2025, 3, 1, 23, 59, 59, tzinfo=UTC),
    ],
    Kind.DATE: [date(1, 1, 1), date(2025, 2, 28), date(2025, 3, 1), date(9999, 12, 31)],
    Kind.UUID: [UUID(int=0), UUID(int=1), UUID(int=2**128 - 1)],
    Kind.BINARY: [b"", b"\0", b"\0\1", b"a", b"\xff" * 8],
    Kind.DOCUMENT: [
        [], ["a"], ["a", 1], [1, True], [[1], {"a": 1}], {"a": ["a"]}, "a", 1, True,
        [Decimal(1)], [1.0, "é"], ["😀", "quote ' \" \\"],
    ],
}  # fmt: skip
ELEMENTS = ["a", "é", "😀", "quote ' \" \\", 1, 0, True, False, 2**63 - 1]
STAMPS = [0, 1, 10**15, -(10**15)]


def values_of(column: Column) -> st.SearchStrategy[Any]:
    if column.choices:
        return st.sampled_from(column.choices)
    pool = st.sampled_from(POOLS[column.kind])
    return st.none() | pool if column.nullable else pool


def rows_of(collection: Collection) -> st.SearchStrategy[list[dict[str, Any]]]:
    columns = {column.name: values_of(column) for column in collection.columns}
    return st.lists(st.fixed_dictionaries(columns), max_size=9)


@cache  # to make it, and have it validated, takes longer than to draw from it
def conditions_on(
    collection: Collection, other: Collection
) -> st.SearchStrategy[tuple[Condition, ...]]:
    wheres = [wheres_on(collection, name) for name in (*collection.names, "revision")]
    any_one = st.one_of(*wheres, stamps_where(), exists_in(collection, other))
    return st.lists(any_one, max_size=2).map(tuple)


def wheres_on(collection: Collection, name: str) -> st.SearchStrategy[Where]:
    column = (
        Column(name="revision", kind=Kind.INTEGER)
        if name == "revision"
        else collection.column(name)
    )
    pool = [*column.choices] or POOLS[column.kind]  # no query takes what no record can hold
    if name == "revision":
        pool = [0, 1, 2, 3, 2**40, 2**62, -1]
    some = st.sampled_from(pool)
    equal = st.builds(Where, st.just(name), st.sampled_from(["==", "!="]), st.none() | some)
    if column.kind is Kind.DOCUMENT:
        element = st.builds(Where, st.just(name), st.just("contains"), st.sampled_from(ELEMENTS))
        return element | st.builds(Where, st.just(name), st.sampled_from(["==", "!="]), st.none())
    compared = st.builds(Where, st.just(name), st.sampled_from(["<", "<=", ">", ">="]), some)
    within = st.builds(Where, st.just(name), st.just("in"), st.lists(st.none() | some, max_size=5))
    many = st.builds(
        Where, st.just(name), st.just("in"), st.just([*pool * 1, *more_of(column.kind)])
    )
    if column.choices:
        many = within
    found = equal | compared | within | many
    if column.kind is Kind.TEXT:
        found |= st.builds(Where, st.just(name), st.just("prefix"), some)
    return found


def more_of(kind: Kind) -> list[Any]:
    """So many values that they go into one list."""
    made = {
        Kind.TEXT: lambda n: f"text {n} 😀",
        Kind.INTEGER: lambda n: 2**60 + n,
        Kind.DECIMAL: lambda n: Decimal(n) / 8,
        Kind.TIMESTAMP: lambda n: EPOCH + timedelta(seconds=n),
        Kind.DATE: lambda n: date(2000, 1, 1) + timedelta(days=n),
        Kind.UUID: lambda n: UUID(int=n),
        Kind.REAL: float,
    }.get(kind)
    return [made(n) for n in range(2, 90)] if made else []


def stamps_where() -> st.SearchStrategy[Where]:
    instants = st.sampled_from([EPOCH + timedelta(microseconds=s) for s in STAMPS])
    return st.builds(
        Where,
        st.sampled_from(["created_at", "updated_at"]),
        st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
        instants,
    )


def exists_in(collection: Collection, other: Collection) -> st.SearchStrategy[Exists]:
    names = ["text", "integer", "decimal", "flag", "day", "token", "blob"]
    return st.builds(
        Exists,
        st.sampled_from([other, collection]),
        st.lists(st.sampled_from(names), max_size=2, unique=True).map(
            lambda ns: tuple((n, n) for n in ns)
        ),
        st.lists(wheres_on(other, "text") | wheres_on(other, "integer"), max_size=1).map(tuple),
        st.booleans(),
    )


@cache
def orders_of(collection: Collection) -> st.SearchStrategy[tuple[str, ...]]:
    names = [c.name for c in collection.columns if c.kind not in (Kind.DOCUMENT, Kind.BINARY)] + [
        "revision",
        "updated_at",
    ]
    part = st.builds(lambda name, down: "-" * down + name, st.sampled_from(names), st.booleans())
    key = st.sampled_from([(), ("revision",), ("-revision",)])
    return key | st.lists(part, max_size=2, unique_by=lambda p: p.lstrip("-")).map(tuple)


@st.composite
def queries(draw: Any, collection: Collection, other: Collection) -> Query:
    where = draw(conditions_on(collection, other))
    if collection.log and draw(st.booleans()):  # as most questions to a log are asked
        account = draw(st.none() | st.sampled_from(["a", "ab"]))
        where += (Where("account", "==", account), Where("mode", "==", "paper"))
    limit = draw(st.none() | st.integers(0, 5))
    take = "first" if limit is None else draw(st.sampled_from(["first", "last"]))
    order = draw(orders_of(collection))
    return Query(where=where, order=order, limit=limit, take=take)


def tallies(collection: Collection, other: Collection) -> st.SearchStrategy[Tally]:
    groups = st.sampled_from(collection.names) | st.builds(
        Per,
        st.sampled_from(["instant", "day", "created_at", "updated_at"]),
        st.sampled_from(["hour", "day", "month", "year"]),
    )
    numbers = st.sampled_from(["integer", "real", "decimal"])
    ordered = st.sampled_from(["integer", "real", "decimal", "text", "instant", "day", "token"])
    measures = st.one_of(
        st.just(Measure("count")),
        st.builds(Measure, st.just("count"), st.sampled_from(collection.names)),
        st.builds(Measure, st.sampled_from(["sum", "mean", "mean_abs"]), numbers),
        st.builds(Measure, st.sampled_from(["min", "max"]), ordered),
    )
    return st.builds(
        Tally,
        by=st.lists(groups, max_size=2).map(tuple),
        measures=st.lists(measures, min_size=1, max_size=4).map(tuple),
        where=conditions_on(collection, other),
    )


@attrs.frozen
class Pair:
    """The model and SQLite, holding the same."""

    model: MemoryBackend
    engine: SqliteBackend
    records: Collection
    entries: Collection

    def emptied(self) -> "Pair":
        """Both without a row, for the next example."""
        with self.engine._database.turn() as writer:
            for table in (self.records.name, self.entries.name, "quantkeep_streams"):
                writer.execute(f"DELETE FROM {table}")
        self.engine._seen = Seen()
        return attrs.evolve(self, model=new_model(self.records, self.entries))

    def put(self, collection: Collection, given: list[dict[str, Any]], stamps: list[int]) -> None:
        """Write the rows to both, in one commit."""
        rows = [
            sealed(collection, values)._replace(created_at=stamp, updated_at=stamp)
            for values, stamp in zip(given, stamps, strict=False)
        ]
        if collection.log:
            rows = [resealed(collection, row, f"{number}") for number, row in enumerate(rows)]
            batch = Batch((Append(collection, rows),))
        else:
            batch = Batch(tuple(Put(collection, row) for row in rows))
        for backend in (self.model, self.engine):
            backend.commit(batch)


def sealed(collection: Collection, values: dict[str, Any]) -> SealedRow:
    return collection.sealer.seal_values(tuple(values[n] for n in collection.names), Hosts(()))


def resealed(collection: Collection, row: SealedRow, uid: str) -> SealedRow:
    """With an identity of its own, where it has one."""
    place = collection.places["uid"]
    if row.values[place] is None:
        return row
    values = (*row.values[:place], uid, *row.values[place + 1 :])
    return collection.sealer.seal_row(values)._replace(
        created_at=row.created_at, updated_at=row.updated_at
    )


def new_model(*collections: Collection) -> MemoryBackend:
    model = MemoryBackend()
    model.ensure(collections, "")
    return model


@contextmanager
def new_pair(folder: Path) -> Iterator[Pair]:
    url = Url.parse(f"sqlite:///{folder}/hard.db?synchronous=normal")
    engine = open_backend(url, Opening())
    records, entries = HardRecord.collection, HardEntry.collection
    engine.ensure([records, entries], schema.describe([records, entries]))
    yield Pair(new_model(records, entries), engine, records, entries)
    engine.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Emptied by each test that uses it."""
    with new_pair(tmp_path_factory.mktemp("equivalence")) as made:
        yield made


def shown(row: StoredRow) -> tuple[Any, ...]:
    """Every bit of a row: equal floats that are not the same, and NaN, are told apart."""
    bits = tuple(struct.pack(">d", v) if type(v) is float else (type(v), v) for v in row.values)
    return (bits, *row[1:])


EXAMPLES = settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
RECORDS, ENTRIES = HardRecord.collection, HardEntry.collection
stamps = st.lists(st.sampled_from(STAMPS), min_size=9, max_size=9)


@pytest.mark.requirement("Z-5", "Z-9", "X-1", "X-2", "X-3", "X-4")
@EXAMPLES
@given(
    records=rows_of(RECORDS), entries=rows_of(ENTRIES), stamps=stamps,
    query=queries(RECORDS, ENTRIES), log_query=queries(ENTRIES, RECORDS), data=st.data(),
)  # fmt: skip
def test_queries_mean_what_the_model_says(
    pair: Pair, monkeypatch, records, entries, stamps, query, log_query, data
):
    # as if there were much more: the other ways to the same answer
    monkeypatch.setattr(reading, "_PROBE", data.draw(st.sampled_from([0, 20_000])))
    monkeypatch.setattr(reading, "_FEW_ROWS", data.draw(st.sampled_from([0, 1000])))
    monkeypatch.setattr(reading, "_FEW_STREAMS", data.draw(st.sampled_from([0, 256])))
    monkeypatch.setattr(conditions, "FEW", data.draw(st.sampled_from([1, 64])))
    pair = pair.emptied()
    pair.put(pair.records, records, stamps)
    pair.put(pair.entries, entries, stamps)
    for collection, unbound in ((pair.records, query), (pair.entries, log_query)):
        asked = unbound.bound(collection)
        wanted = check(pair, collection, asked)
        everything = [*pair.model.scan(collection, Query())]
        if everything:
            seen = data.draw(st.sampled_from(wanted or everything))
            after = asked.cursor(collection, seen)
            check(pair, collection, attrs.evolve(asked, after=after))


def check(pair: Pair, collection: Collection, query: Query) -> list[StoredRow]:
    wanted = compare(pair, collection, query)
    event(f"{collection.name}: {'some' if wanted else 'no'} rows")
    return wanted


def compare(pair: Pair, collection: Collection, query: Query) -> list[StoredRow]:
    wanted = [*query.run(collection, pair.model._model.rows(collection), pair.model._model.rows)]
    found = [*pair.engine.scan(collection, query)]
    assert [*map(shown, found)] == [*map(shown, wanted)]
    return wanted


# -- what random questions meet too seldom, all of it --------------------------------------------


def hard_rows(collection: Collection) -> list[dict[str, Any]]:
    """Rows that together hold every hard value of every kind, and nulls."""
    longest = max(map(len, POOLS.values()))
    rows = []
    for number in range(longest + 2):
        row = {
            c.name: (POOLS[c.kind] + [None])[number % (len(POOLS[c.kind]) + 1)]
            for c in collection.columns
        }
        given = {"name": f"{number}", "mode": ("paper", "live")[number % 2]}
        given |= {"account": ("a", None)[number % 3 == 0]}
        rows.append(row | {n: v for n, v in given.items() if n in collection.names})
    return rows


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Filled once, and only asked."""
    with new_pair(tmp_path_factory.mktemp("hard")) as made:
        for collection in (RECORDS, ENTRIES):
            made.put(collection, hard_rows(collection), STAMPS * 9)
        yield made


COMPARED = [c.name for c in RECORDS.columns if c.kind is not Kind.DOCUMENT and c.name != "name"]


@pytest.mark.requirement("Z-5", "X-1", "X-2", "X-3", "X-4")
@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("operator", ["==", "!=", "<", "<=", ">", ">=", "in"])
def test_every_comparison_means_what_the_model_says(hard: Pair, name, operator):
    for value in POOLS[RECORDS.column(name).kind]:
        given = [value, None] if operator == "in" else value
        query = Query(where=(Where(name, operator, given),))
        compare(hard, RECORDS, query.bound(RECORDS))


ORDERED = [c.name for c in RECORDS.columns if c.kind not in (Kind.DOCUMENT, Kind.BINARY)]


@pytest.mark.requirement("Z-9", "Z-38")
@pytest.mark.parametrize("order", [(), *((d + n,) for n in ORDERED for d in ("", "-"))])
def test_every_cursor_stands_where_the_model_says(hard: Pair, order):
    query = Query(order=order).bound(RECORDS)
    for row in hard.model.scan(RECORDS, Query()):
        compare(hard, RECORDS, attrs.evolve(query, after=query.cursor(RECORDS, row)))


PINNED = (Where("account", "==", "a"), Where("mode", "==", "live"))


@pytest.mark.requirement("Z-9", "Z-38")
@pytest.mark.parametrize("where", [(), PINNED, PINNED[1:]], ids=["all", "pinned", "half"])
@pytest.mark.parametrize("order", [(), ("-account",), ("revision",), ("-revision",), ("-real",)])
def test_every_cursor_in_a_log_stands_where_the_model_says(hard: Pair, where, order):
    """A cursor of one stream may be used in another, and is between entries there."""
    query = Query(order=order, where=where).bound(ENTRIES)
    for row in hard.model.scan(ENTRIES, Query()):
        after = attrs.evolve(query, after=query.cursor(ENTRIES, row))
        compare(hard, ENTRIES, after)
        compare(hard, ENTRIES, attrs.evolve(after, limit=2, take="last"))


SUMS: list[list[Any]] = [
    [1e300, -1e300, 1.0],
    [1e16, 1.0, -1e16],
    [0.1] * 10,
    [math.inf, -math.inf],
    [math.inf, 1.0],
    [math.nan, 1.0],
    [-0.0],
    [1.0, -1.0],
    [None, None],
    [2**63 - 1, 2**63 - 1],
    [-(2**63), -(2**63), 1],
    [2**53 + 1, 1],
    [Decimal("0.000000000000000001"), Decimal("99999999999999999999.5")],
    [Decimal("1.5"), Decimal("-1.5")],
    [Decimal(1), Decimal(1), Decimal(0)],
]


@pytest.mark.requirement("Z-5", "X-1")
@pytest.mark.parametrize("values", SUMS)
def test_hard_sums_are_what_the_model_says(pair: Pair, values):
    pair = pair.emptied()
    kind = {float: "real", int: "integer", Decimal: "decimal"}.get(type(values[0]), "real")
    rows = [dict.fromkeys(RECORDS.names) | {"name": f"{n}", kind: v} for n, v in enumerate(values)]
    pair.put(RECORDS, rows, STAMPS * 9)
    for function in ("sum", "mean", "mean_abs", "min", "max"):
        asked = Tally(measures=(Measure(function, kind),)).bound(RECORDS)
        ((found,),), ((wanted,),) = (
            pair.engine.tally(RECORDS, asked),
            pair.model.tally(RECORDS, asked),
        )
        assert same_figure(found, wanted), (function, found, wanted)


@pytest.mark.requirement("Z-5")
def test_a_long_sum_of_reals_loses_nothing_between_its_chunks(pair: Pair):
    """One that cancels only after thousands of values."""
    from quantkeep_backends.sqlite.functions import _RealTotal

    total = _RealTotal()
    values = [1e16, 1.0] * 5000 + [-1e16] * 5000
    for value in values:
        total.step(value)
    assert total.finalize() == math.fsum(values) == 5000.0


@pytest.mark.parametrize("prefix", TEXTS)
def test_every_prefix_means_what_the_model_says(pair: Pair, prefix):
    """Each of these is rare in random questions, and next to an edge of Unicode."""
    pair = pair.emptied()
    rows = [dict.fromkeys(RECORDS.names) | {"name": t, "text": t * 2} for t in TEXTS]
    pair.put(RECORDS, rows, STAMPS * 9)
    for name in ("name", "text"):
        compare(pair, RECORDS, Query(where=(Where(name, "prefix", prefix),)).bound(RECORDS))


@pytest.mark.requirement("Z-5", "Z-9")
@EXAMPLES
@given(
    records=rows_of(RECORDS), entries=rows_of(ENTRIES), stamps=stamps,
    tally=tallies(RECORDS, ENTRIES), log_tally=tallies(ENTRIES, RECORDS),
)  # fmt: skip
def test_tallies_mean_what_the_model_says(pair: Pair, records, entries, stamps, tally, log_tally):
    pair = pair.emptied()
    pair.put(pair.records, records, stamps)
    pair.put(pair.entries, entries, stamps)
    for collection, unbound in ((pair.records, tally), (pair.entries, log_tally)):
        asked = unbound.bound(collection)
        wanted = pair.model.tally(collection, asked)
        found = pair.engine.tally(collection, asked)
        assert len(found) == len(wanted)
        for ours, theirs in zip(found, wanted, strict=True):
            assert len(ours) == len(theirs)
            for figure, expected in zip(ours, theirs, strict=True):
                assert same_figure(figure, expected), (figure, expected)


def same_figure(figure: Any, expected: Any) -> bool:
    if isinstance(expected, float) and type(figure) is float:
        if math.isnan(expected):
            return math.isnan(figure)
        return math.isclose(figure, expected, rel_tol=1e-9, abs_tol=0.0)
    return type(figure) is type(expected) and bool(figure == expected)


@EXAMPLES
@given(
    records=rows_of(RECORDS), entries=rows_of(ENTRIES), stamps=stamps, gone=st.integers(0, 8),
)  # fmt: skip
def test_keys_and_heads_mean_what_the_model_says(pair: Pair, records, entries, stamps, gone):
    pair = pair.emptied()
    pair.put(pair.records, records, stamps)
    pair.put(pair.entries, entries, stamps)
    for collection in (pair.records, pair.entries):
        rows = [*pair.model.scan(collection, Query())]
        keys = [collection.stored_key(row) for row in rows]
        for key in keys[gone : gone + 1]:
            for backend in (pair.model, pair.engine):
                backend.commit(Batch((Delete(collection, key),)))
        for key in keys:
            found, wanted = pair.engine.get(collection, key), pair.model.get(collection, key)
            assert (found and shown(found)) == (wanted and shown(wanted))
        assert pair.engine.heads(collection) == pair.model.heads(collection)
    assert pair.engine.check() == []
