"""Backends that are careless in what one store alone notices, or notices first."""

import time
from collections.abc import Iterator
from typing import Any

import attrs

from naive.changing import OfKind
from naive.fronts import Front, Rewriting, Wrapper, caught_by
from naive.journal import JournalBackend
from naive.journals import CarelessJournal
from naive.journals import caught_by as journal_caught_by
from quantkeep.batch import ANYTHING, AtRevision, Batch, Outcome, Receipt, Write
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Kind
from quantkeep.model import Model
from quantkeep.query import Exists, Query, Tally

# -- predictions ---------------------------------------------------------------------------------


@caught_by("predictions.everything_comes_back")
class keeps_four_decimal_places(OfKind):
    """As DECIMAL(10, 4) does, which rounds what does not fit."""

    kind = Kind.DECIMAL

    def changed(self, value: Any) -> Any:
        whole, point, places = value.partition(".")
        return (whole + point + places[:4]).rstrip("0").rstrip(".") if point else value


@caught_by("predictions.large_figures_fit")
class keeps_one_digit_before_the_point(OfKind):
    """As DECIMAL(5, 4) does, where the greatest it holds is stored for what is greater."""

    kind = Kind.DECIMAL

    def changed(self, value: Any) -> Any:
        return "9.9999" if float(value) >= 10 else value


@caught_by("predictions.pending_is_exact")
class finds_no_absence(Wrapper):
    """Takes "without any" for "whether or not"."""

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        asked = [c for c in query.where if not (isinstance(c, Exists) and c.negate)]
        return self.engine.scan(collection, attrs.evolve(query, where=tuple(asked)))


@caught_by("predictions.retrospection_is_one_commit")
class logs_what_did_not_fit_into_the_batch(Wrapper):
    """Writes the first few, and answers as if it had written all."""

    def commit(self, batch: Batch) -> Receipt:
        if "agent_evaluations" not in {write.collection.name for write in batch.writes}:
            return self.engine.commit(batch)
        done = self.engine.commit(attrs.evolve(batch, writes=batch.writes[:3]))
        left_out = [Outcome((1,), 1) for _ in batch.writes[3:]]
        return attrs.evolve(done, outcomes=(*done.outcomes, *left_out))


@caught_by("predictions.no_score_is_lost")
class counts_from_what_it_has_read(Rewriting):
    """Writes the new count whatever has become of the old one meanwhile."""

    def rewritten(self, write: Write) -> Write:
        of_agents = write.collection.name == "agent_performance"
        if of_agents and isinstance(getattr(write, "expect", None), AtRevision):
            time.sleep(0.002)  # for others to read what it has read
            return attrs.evolve(write, expect=ANYTHING)
        return write


@journal_caught_by("predictions.no_score_is_lost_between_processes")
class compares_with_what_it_wrote_itself(JournalBackend):
    """Holds a revision against the last of its own, as if nobody else were writing."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self._mine: dict[Key, int] = {}

    def commit(self, batch: Batch) -> Receipt:
        agents = [w for w in batch.writes if w.collection.name == "agent_performance"]
        if agents:
            time.sleep(0.02)  # for others to read what it has read
        with self._lock:
            writes = tuple(map(self._expecting, batch.writes)) if agents else batch.writes
            receipt = super().commit(attrs.evolve(batch, writes=writes))
            self._mine |= {key: self._revision(key) for key in map(_key, agents)}
        return receipt

    def _revision(self, key: Key) -> int:
        stored = self._model.shelves["agent_performance"].row(key)
        return stored.revision if stored else 0

    def _expecting(self, write: Write) -> Write:
        expect = getattr(write, "expect", None)
        if not isinstance(expect, AtRevision) or expect.revision < self._mine.get(_key(write), 0):
            return write
        return attrs.evolve(write, expect=ANYTHING)


def _key(write: Any) -> Key:
    key: Key = write.collection.key_of(write.row.values) if hasattr(write, "row") else write.key
    return key


@caught_by("predictions.calibration")
class adds_floats(Wrapper):
    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        from decimal import Decimal

        found = self.engine.tally(collection, tally)
        return [
            tuple(Decimal(repr(float(v))) if isinstance(v, Decimal) else v for v in row)
            for row in found
        ]


# -- backtests -----------------------------------------------------------------------------------


@caught_by("backtests.garbage_is_found", "backtests.deleted_and_collected")
class finds_no_blobs(Wrapper):
    """As a listing does that is not up to date."""

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return iter(())


@caught_by("backtests.garbage_is_found")
class deletes_blobs_however_new(Wrapper):
    def delete_blob(self, digest: str, **conditions: Any) -> Any:
        return self.engine.delete_blob(digest)

    def list_blobs(self) -> Iterator[tuple[str, int]]:
        return ((digest, 0) for digest, _ in self.engine.list_blobs())


@caught_by(
    "backtests.result_comes_back",
    "backtests.arrow_types_come_back",
    "backtests.garbage_is_found",
    "backtests.parts_are_read",
)
class cuts_blobs_at_a_limit(Wrapper):
    """Keeps as much of a blob as a field of the engine takes."""

    def put_blob(self, digest: str, data: bytes) -> None:
        self.engine.put_blob(digest, data[:1000])


@caught_by("backtests.changed_table_is_detected")
class answers_from_a_cache(Wrapper):
    """Content has its digest for a name, so what it once had under one is what must be there."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self._known: dict[str, bytes] = {}

    def put_blob(self, digest: str, data: bytes) -> None:
        self.engine.put_blob(digest, data)
        self._known.setdefault(digest, data)

    def open_blob(self, digest: str) -> bytes | None:
        found = self.engine.open_blob(digest)
        return found and self._known.get(digest, found)


@journal_caught_by("backtests.killed_while_publishing", "backtests.deleted_and_collected")
class publishes_before_the_tables_are_there(JournalBackend):
    """Puts blobs off until something is read."""

    def __init__(self, path: Any) -> None:
        self._put_off: list[tuple[str, bytes]] = []
        super().__init__(path)

    def put_blob(self, digest: str, data: bytes) -> None:
        self._put_off.append((digest, data))

    def open_blob(self, digest: str) -> bytes | None:
        while self._put_off:
            super().put_blob(*self._put_off.pop())
        return super().open_blob(digest)


# -- knowledge -----------------------------------------------------------------------------------


@caught_by("knowledge.strategies_are_their_content")
class reads_documents_as_floats(Wrapper):
    """As a JSON column does that knows one kind of number, and says so in what it gives back."""

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        found = self.engine.get(collection, key)
        if found is None or collection.name != "strategies":
            return found
        values = tuple(
            value.replace("10", "10.5") if isinstance(value, str) and "fast" in value else value
            for value in found.values
        )
        return found._replace(values=values, digest=collection.digest(values))


@caught_by("knowledge.what_is_referred_to_stays")
class deletes_whatever_is_asked(Model):
    def _check_unreferenced(self, collection: Collection, key: Key) -> None:
        pass


@caught_by("knowledge.nothing_dangles")
class follows_the_first_reference(Model):
    """Finds that a record refers to something, and looks no further."""

    def _check_targets(self, collection: Collection, row: StoredRow) -> None:
        first = attrs.evolve(collection, references=collection.references[:1])
        super()._check_targets(first, row)


@caught_by("knowledge.top_strategies")
class takes_nan_for_the_best(Wrapper):
    """Orders NaN first, and finds it wherever a number is asked for."""

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        if collection.name != "metrics" or not query.order:
            return self.engine.scan(collection, query)
        return self.engine.scan(collection, attrs.evolve(query, where=()))


@caught_by("knowledge.repeat_failures")
class ranks_the_least_first(Wrapper):
    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        if tally.order_by is None:
            return self.engine.tally(collection, tally)
        return self.engine.tally(collection, attrs.evolve(tally, descending=not tally.descending))


@caught_by("knowledge.iterations_are_numbered_once")
class takes_two_for_the_first(Rewriting):
    """Lets whoever comes second replace what the first one began, and tells both that it is new."""

    def rewritten(self, write: Write) -> Write:
        if write.collection.name == "iterations" and hasattr(write, "expect"):
            time.sleep(0.002)  # for others to find the number free
            return attrs.evolve(write, expect=ANYTHING)
        return write

    def commit(self, batch: Batch) -> Receipt:
        receipt = super().commit(batch)
        outcomes = tuple(attrs.evolve(outcome, added=1) for outcome in receipt.outcomes)
        return attrs.evolve(receipt, outcomes=outcomes)


@caught_by("knowledge.lineage")
class follows_one_step(Wrapper):
    """Finds nothing by a condition on another collection."""

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        if "constraint_set_id_applied" in str(query.where) and collection.name == "iterations":
            return iter(())
        return self.engine.scan(collection, query)


JOURNALS = {name: one for name, one in vars().copy().items() if isinstance(one, CarelessJournal)}
FRONTS = {name: one for name, one in vars().copy().items() if isinstance(one, Front)}
