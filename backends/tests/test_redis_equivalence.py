"""Redis answers as the model does, whichever way entries are stored and rows are found."""

import importlib.util
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quantkeep import schema
from quantkeep.batch import Append, Batch, Delete, Put
from quantkeep.collection import Collection, SealedRow
from quantkeep.hookspecs import Opening
from quantkeep.query import Query, Where
from quantkeep.url import Url
from quantkeep_backends.memory import MemoryBackend
from quantkeep_backends.redis import chunks, keyed, sealing, streams
from quantkeep_backends.redis.backend import RedisBackend
from quantkeep_backends.redis.opening import discard, open_backend

_HARD = Path(__file__).with_name("test_sqlite_equivalence.py")  # its questions, asked here
_spec = importlib.util.spec_from_file_location("hard_questions", _HARD)
hard = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hard)

RECORDS, ENTRIES = hard.RECORDS, hard.ENTRIES
EXAMPLES = settings(
    max_examples=60,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WAYS = st.sampled_from(["single", "packed", "sealed", "joined"])


@attrs.frozen
class Pair:
    """The model and Redis, holding the same."""

    model: MemoryBackend
    engine: RedisBackend

    def commit(self, batch: Batch) -> None:
        for backend in (self.model, self.engine):
            backend.commit(batch)

    def put(self, given: list[dict[str, Any]], stamps: list[int]) -> None:
        rows = stamped(RECORDS, given, stamps)
        self.commit(Batch(tuple(Put(RECORDS, row) for row in rows)))

    def append(self, given: list[dict[str, Any]], stamps: list[int], way: str) -> None:
        """Entries in the *way* that they come to be stored."""
        rows = [
            hard.resealed(ENTRIES, row, f"{way} {number}")
            for number, row in enumerate(stamped(ENTRIES, given, stamps))
        ]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chunks, "LEAST", 1_000 if way in ("single", "sealed") else 1)
            patch.setattr(chunks, "ROWS", 2)
            self.commit(Batch((Append(ENTRIES, rows),)))
            patch.setattr(sealing, "_LEAST", 1)
            patch.setattr(sealing, "_ROWS", 2)
            if way == "sealed":
                self.engine.compact()
            if way == "joined":
                patch.setattr(chunks, "ROWS", 40)
                self.engine.compact()

    def compare(self, collection: Collection, query: Query) -> None:
        rows = self.model._model.rows
        wanted = [*query.run(collection, rows(collection), rows)]
        found = [*self.engine.scan(collection, query)]
        assert [*map(hard.shown, found)] == [*map(hard.shown, wanted)]


def stamped(
    collection: Collection, given: list[dict[str, Any]], stamps: list[int]
) -> list[SealedRow]:
    return [
        hard.sealed(collection, values)._replace(created_at=stamp, updated_at=stamp)
        for values, stamp in zip(given, stamps, strict=False)
    ]


@contextmanager
def new_pair(server: Any) -> Iterator[Pair]:
    url = Url.parse(f"{server.url}?name=pair_{os.urandom(8).hex()}")
    engine = open_backend(url, Opening())
    engine.ensure([RECORDS, ENTRIES], schema.describe([RECORDS, ENTRIES]))
    try:
        yield Pair(hard.new_model(RECORDS, ENTRIES), engine)
    finally:
        engine.close()
        discard(url)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of a few rows, as if there were very many."""
    monkeypatch.setattr(keyed, "PAGE_ROWS", 3)
    monkeypatch.setattr(streams, "_PAGE", 3)


@st.composite
def log_queries(draw: Any) -> Query:
    """As :func:`queries`; more of them in an order that a log's entries usually come in."""
    asked = draw(hard.queries(ENTRIES, RECORDS))
    usual = st.sampled_from([(), ("instant",), ("-instant",), ("integer",), ("-revision",)])
    return attrs.evolve(asked, order=draw(usual)) if draw(st.booleans()) else asked


@pytest.mark.requirement("Z-5", "Z-9", "Z-38", "X-1", "X-2", "X-3", "X-4")
@pytest.mark.usefixtures("narrow")
@EXAMPLES
@given(
    portions=st.lists(st.tuples(WAYS, hard.rows_of(ENTRIES)), min_size=1, max_size=3),
    stamps=hard.stamps, query=log_queries(), gone=st.lists(st.integers(0, 20), max_size=3),
    data=st.data(),
)  # fmt: skip
def test_a_log_means_what_the_model_says(redis_server, portions, stamps, query, gone, data):
    with new_pair(redis_server) as pair:
        for number, (way, given_rows) in enumerate(portions):
            pair.append(given_rows, stamps, f"{way}")
            if number == 0:
                delete_some(pair, gone)
        query = query.bound(ENTRIES)
        pair.compare(ENTRIES, query)
        everything = [*pair.model.scan(ENTRIES, Query())]
        if everything:
            after = query.cursor(ENTRIES, data.draw(st.sampled_from(everything)))
            pair.compare(ENTRIES, attrs.evolve(query, after=after))
        assert pair.engine.heads(ENTRIES) == pair.model.heads(ENTRIES)
        sizes = {**pair.engine.sizes()}
        assert sizes.pop("bytes") > 0
        assert sizes == pair.model.sizes()
        assert pair.engine.check() == []
        for row in everything:
            key = ENTRIES.stored_key(row)
            assert hard.shown(pair.engine.get(ENTRIES, key)) == hard.shown(row)


def delete_some(pair: Pair, gone: list[int]) -> None:
    keys = [ENTRIES.stored_key(row) for row in pair.model.scan(ENTRIES, Query())]
    doomed = {keys[number % len(keys)] for number in gone if keys}
    pair.commit(Batch(tuple(Delete(ENTRIES, key) for key in doomed)))


@pytest.mark.requirement("Z-5", "Z-9", "X-1", "X-2", "X-3", "X-4")
@pytest.mark.usefixtures("narrow")
@EXAMPLES
@given(
    records=hard.rows_of(RECORDS), stamps=hard.stamps, query=hard.queries(RECORDS, ENTRIES),
    data=st.data(),
)  # fmt: skip
def test_records_mean_what_the_model_says(redis_server, records, stamps, query, data):
    with new_pair(redis_server) as pair:
        pair.put(records, stamps)
        query = query.bound(RECORDS)
        pair.compare(RECORDS, query)
        everything = [*pair.model.scan(RECORDS, Query())]
        if everything:
            after = query.cursor(RECORDS, data.draw(st.sampled_from(everything)))
            pair.compare(RECORDS, attrs.evolve(query, after=after))
        assert pair.engine.check() == []


@pytest.fixture(scope="module")
def filled(redis_server) -> Iterator[Pair]:
    """Every hard value of every kind, filled in once and only asked for."""
    with new_pair(redis_server) as pair:
        pair.put(hard.hard_rows(RECORDS), hard.STAMPS * 9)
        pair.append(hard.hard_rows(ENTRIES), hard.STAMPS * 9, "single")
        pair.append(hard.hard_rows(ENTRIES), hard.STAMPS * 9, "packed")
        yield pair


@pytest.mark.requirement("Z-5", "X-1", "X-2", "X-3", "X-4")
@pytest.mark.parametrize("name", hard.COMPARED)
@pytest.mark.parametrize("operator", ["==", "!=", "<", "<=", ">", ">=", "in"])
def test_every_comparison_means_what_the_model_says(filled: Pair, name, operator):
    for collection in (RECORDS, ENTRIES):
        column = collection.places.get(name)
        for value in hard.POOLS[RECORDS.column(name).kind] if column is not None else ():
            asked = [value, None] if operator == "in" else value
            filled.compare(
                collection, Query(where=(Where(name, operator, asked),)).bound(collection)
            )


@pytest.mark.requirement("Z-9", "Z-38")
@pytest.mark.parametrize("where", [(), hard.PINNED, hard.PINNED[1:]], ids=["all", "one", "half"])
@pytest.mark.parametrize("order", [(), ("-account",), ("-revision",), ("instant",), ("-instant",)])
def test_every_cursor_in_a_log_stands_where_the_model_says(filled: Pair, where, order):
    query = Query(order=order, where=where).bound(ENTRIES)
    for row in [*filled.model.scan(ENTRIES, Query())][::3]:
        after = attrs.evolve(query, after=query.cursor(ENTRIES, row))
        filled.compare(ENTRIES, after)
        filled.compare(ENTRIES, attrs.evolve(after, limit=2, take="last"))


@pytest.mark.requirement("Z-9", "Z-38")
@pytest.mark.parametrize("order", [(), *((d + n,) for n in hard.ORDERED for d in ("", "-"))])
def test_every_cursor_stands_where_the_model_says(filled: Pair, order):
    query = Query(order=order).bound(RECORDS)
    for row in filled.model.scan(RECORDS, Query()):
        filled.compare(RECORDS, attrs.evolve(query, after=query.cursor(RECORDS, row)))


# -- many entries, some of them late --------------------------------------------------------------


@pytest.mark.requirement("Z-38")
@pytest.mark.parametrize("late", [0.0, 0.02, 0.5], ids=["never", "seldom", "often"])
@pytest.mark.parametrize("way", ["single", "sealed", "packed"])
def test_the_newest_of_a_long_log(redis_server, monkeypatch, late, way):
    """Listings by time, of entries of which some come late, look at few and find the right ones."""
    chance = random.Random(f"{late} {way}")
    given = [
        dict.fromkeys(ENTRIES.names)
        | {"account": "a", "mode": "paper", "integer": number, "text": chance.choice("xyz")}
        | {"instant": hard.EPOCH + timedelta(seconds=moment(number, late, chance))}
        for number in range(1_500)
    ]
    with new_pair(redis_server) as pair:
        monkeypatch.setattr(chunks, "LEAST", 200 if way == "packed" else 10_000)
        monkeypatch.setattr(chunks, "ROWS", 100)
        monkeypatch.setattr(sealing, "_ROWS", 300)
        for start in range(0, 1_500, 250):
            rows = stamped(ENTRIES, given[start : start + 240], [0] * 250)
            pair.commit(Batch((Append(ENTRIES, rows),)))
            for row in stamped(ENTRIES, given[start + 240 : start + 250], [0] * 10):
                pair.commit(Batch((Append(ENTRIES, [row]),)))  # as a live append is
            if way == "sealed" and start == 500:
                pair.engine.compact()
        paper = (Where("account", "==", "a"), Where("mode", "==", "paper"))
        some = (
            Where("text", "==", "x"),
            Where("instant", ">=", hard.EPOCH + timedelta(seconds=400)),
        )
        for where in ((), paper, (*paper, some[0]), (*paper, *some)):
            for order in (("instant",), ("-instant",)):
                for limit, take in ((3, "last"), (300, "last"), (7, "first"), (None, "first")):
                    query = Query(where=where, order=order, limit=limit, take=take)
                    pair.compare(ENTRIES, query.bound(ENTRIES))
        assert pair.engine.check() == []


def moment(number: int, late: float, chance: random.Random) -> float:
    if chance.random() < late:
        return number - chance.choice((1, 10, 100, 1_000))
    return number
