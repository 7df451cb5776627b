"""``json://`` answers as ``memory://`` does, bit for bit: as written, as followed, as read anew."""

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantkeep import Record, record, schema
from quantkeep.backend import Backend, Head
from quantkeep.batch import Append, Batch, Delete, Put
from quantkeep.collection import SealedRow
from quantkeep.contract import stored_row
from quantkeep.hosts import Hosts
from quantkeep.query import Query, Tally, Where
from quantkeep_backends.json import JsonBackend
from quantkeep_backends.json._lines import Shape
from quantkeep_backends.memory import MemoryBackend
from quantkeep_conformance.exactness import same
from quantkeep_conformance.queries import ROWS, queries, tallies
from quantkeep_conformance.records import Entry, Specimen
from quantkeep_conformance.strategies import of_record

SPECIMENS, ENTRIES = Specimen.collection, Entry.collection
HOSTS = Hosts(())
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
drawn_rows = st.lists(
    of_record(Specimen) | st.sampled_from(ROWS), max_size=8, unique_by=lambda row: row.name
)
drawn_entries = st.lists(of_record(Entry), max_size=8)


@attrs.frozen
class Keeps:
    """The same keep: in memory, in a handle that writes, and in one that follows it."""

    model: MemoryBackend
    writer: JsonBackend
    follower: JsonBackend
    again: Any

    def commit(self, *writes: Put | Append | Delete) -> None:
        for backend in (self.model, self.writer):
            backend.commit(Batch(writes))

    def readers(self) -> Iterator[Backend]:
        """All that must answer as the model does."""
        yield from (self.writer, self.follower)
        yield self.again(SPECIMENS, ENTRIES)
        self.writer.compact()
        yield from (self.writer, self.follower)
        yield self.again(SPECIMENS, ENTRIES)


@pytest.fixture
def keeps(keep):
    """Makes empty ones, for each example anew."""
    handles = keep.handles

    def made() -> Keeps:
        for handle in handles:
            handle.close()
        handles.clear()
        here = type(keep)(keep.path / f"{len([*keep.path.iterdir()])}", handles)
        model = MemoryBackend()
        model.ensure([SPECIMENS, ENTRIES], schema.describe([SPECIMENS, ENTRIES]))
        writer = here.open(SPECIMENS, ENTRIES)
        return Keeps(model, writer, here.open(read_only=True), here.open)

    keep.path.mkdir()
    return made


def sealed(collection, content) -> SealedRow:
    return collection.seal(content, HOSTS)._replace(created_at=1, updated_at=2)


def entries_of(records) -> list[SealedRow]:
    """With identities of their own."""
    numbered = [attrs.evolve(r, uid=f"{n}" if r.uid else None) for n, r in enumerate(records)]
    return [sealed(ENTRIES, entry) for entry in numbered]


@pytest.mark.requirement("Z-17", "X-1", "X-2", "X-3", "X-4")
@EXAMPLES
@given(
    written=st.tuples(drawn_rows, drawn_entries),
    gone=st.integers(0, 7),
    asked=st.lists(queries(), min_size=3, max_size=3),
    figures=st.lists(tallies(), min_size=2, max_size=2),
)
def test_it_answers_as_memory_does(keeps, written, gone, asked, figures):
    keeps, (rows, entries) = keeps(), written
    for row in rows:
        keeps.commit(Put(SPECIMENS, sealed(SPECIMENS, row)))
    keeps.commit(Append(ENTRIES, entries_of(entries)))
    for row in rows[gone : gone + 1]:
        keeps.commit(Delete(SPECIMENS, (row.name,)))
    pinned = Where("account", "==", "default"), Where("mode", "==", "paper")
    for reader in keeps.readers():
        for query in (Query(), *asked):
            check(keeps.model, reader, SPECIMENS, query)
        for query in (Query(), Query(where=pinned), Query(where=pinned, limit=2, take="last")):
            check(keeps.model, reader, ENTRIES, query)
        for tally in figures:
            check_figures(keeps.model, reader, tally)
        for collection in (SPECIMENS, ENTRIES):
            assert reader.heads(collection) == keeps.model.heads(collection)


def check(model: Backend, reader: Backend, collection, query: Query) -> None:
    query = query.bound(collection)
    found, wanted = [*reader.scan(collection, query)], [*model.scan(collection, query)]
    assert same(found, wanted)
    for row in found:
        collection.verify(row)
        key = collection.stored_key(row)
        assert same(reader.get(collection, key), model.get(collection, key))


def check_figures(model: Backend, reader: Backend, tally: Tally) -> None:
    tally = tally.bound(SPECIMENS)
    assert same(reader.tally(SPECIMENS, tally), model.tally(SPECIMENS, tally))


@record("odd", key=("name", "real"), stream=("name", "real"))
class Odd(Record):
    name: str
    real: float


@pytest.mark.requirement("X-4")
@pytest.mark.parametrize("real", [1.0, -0.0, 5e-324])
def test_keys_and_streams_that_json_has_no_words_for(keep, real):
    collection = Odd.collection
    handle = keep.open(collection)
    row = sealed(collection, Odd(name="\u2028", real=real))
    handle.commit(Batch((Put(collection, row), Put(collection, row))))
    handle.compact()
    key = collection.key_of(row.values)
    assert handle.get(collection, key).revision == 2
    assert keep.open(collection).heads(collection) == [Head(key, 2)]
    handle.commit(Batch((Delete(collection, key),)))
    assert keep.open(collection).get(collection, key) is None


@EXAMPLES
@given(row=of_record(Specimen) | st.sampled_from(ROWS), entry=of_record(Entry))
def test_a_record_is_canonical_json(row, entry):
    """As the standard library writes it, whatever writes it here: a file is compared and diffed."""
    for collection, content in ((SPECIMENS, row), (ENTRIES, entry)):
        line = Shape(collection).record(stored_row(collection, sealed(collection, content), 1, 2))
        assert line == json.dumps(
            json.loads(line), ensure_ascii=False, separators=(",", ":"), sort_keys=True,
            allow_nan=False,
        )  # fmt: skip
        assert same(
            Shape(collection).row(json.loads(line)).values, sealed(collection, content).values
        )
