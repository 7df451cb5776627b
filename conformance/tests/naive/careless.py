"""Backends that let through what the contract refuses, or forget what they have promised."""

import time
import weakref
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from itertools import chain
from typing import Any, ClassVar

import attrs

from naive.fronts import Front, Rewriting, Wrapper, caught_by
from quantkeep import hookimpl
from quantkeep.backend import Capability, Durability
from quantkeep.batch import (
    ANYTHING,
    Append,
    AtRevision,
    Batch,
    Holding,
    Outcome,
    Put,
    Receipt,
    Write,
)
from quantkeep.collection import Collection, Key, SealedRow, StoredRow
from quantkeep.contract import check_expectation
from quantkeep.errors import Busy, Conflict, QuantkeepError
from quantkeep.model import Effect, HeldShelf, Model, Removed, Stored
from quantkeep.query import Query

# -- atomicity -----------------------------------------------------------------------------------


@caught_by("atomicity.append_is_whole")
class drops_the_last_row_of_an_append(Rewriting):
    def rewritten(self, write: Write) -> Write:
        if isinstance(write, Append) and len(rows := [*write.rows]) > 1:
            return attrs.evolve(write, rows=rows[:-1])
        return write


@caught_by("atomicity.refused_batch_changes_nothing")
class commits_half_a_refused_batch(Wrapper):
    def commit(self, batch: Batch) -> Receipt:
        try:
            return self.engine.commit(batch)
        except QuantkeepError:
            half = batch.writes[: len(batch.writes) // 2]
            if len(batch.writes) >= 5:
                self._try(half)
            raise

    def _try(self, writes: tuple[Write, ...]) -> None:
        with suppress(QuantkeepError):
            self.engine.commit(Batch(writes))


@caught_by("atomicity.readers_see_whole_batches")
class shows_the_parts_of_a_batch(Wrapper):
    def commit(self, batch: Batch) -> Receipt:
        puts = [w for w in batch.writes if isinstance(w, Put) and w.expect == ANYTHING]
        whole = [w for w in puts if w.row.values[:1] == ("whole",)]
        if len(whole) < 2 or batch.op_id is not None:
            return self.engine.commit(batch)
        receipts = [self._part(write) for write in whole]
        return Receipt(tuple(chain.from_iterable(r.outcomes for r in receipts)), receipts[-1].at)

    def _part(self, write: Write) -> Receipt:
        receipt = self.engine.commit(Batch((write,)))
        time.sleep(0.0005)
        return receipt


# -- preconditions -------------------------------------------------------------------------------


class Forgiving(Rewriting):
    """Lets some expectations go."""

    forgiven: tuple[type, ...] = ()

    def rewritten(self, write: Write) -> Write:
        if isinstance(getattr(write, "expect", None), self.forgiven):
            return attrs.evolve(write, expect=ANYTHING)
        return write


@caught_by(
    "one_winner.at_revision", "one_winner.threads", "one_winner.linearizable_between_threads"
)
class ignores_the_expected_revision(Forgiving):
    forgiven = (AtRevision,)


@caught_by("leases.stale_token_changes_nothing", "leases.no_lease_is_no_permission")
class accepts_a_stale_token(Forgiving):
    forgiven = (Holding,)


@caught_by("one_winner.threads", "one_winner.linearizable_between_threads")
class checks_and_then_writes(Rewriting):
    """Preconditions are held against what was read before the lock was taken."""

    def commit(self, batch: Batch) -> Receipt:
        if len(batch.writes) == 1 and isinstance(put := batch.writes[0], Put):
            key = put.collection.key_of(put.row.values)
            known = self.engine.get(put.collection, key)
            time.sleep(0.0005)
            check_expectation(put.collection, key, known, put.expect)
            batch = attrs.evolve(batch, writes=(attrs.evolve(put, expect=ANYTHING),))
        return self.engine.commit(batch)


# -- integrity -----------------------------------------------------------------------------------


@caught_by("identity.null_in_unique_is_a_value")
class takes_nulls_for_distinct(Model):
    def ensure(self, collections: Any) -> None:
        super().ensure(collections)
        for shelf in self.shelves.values():
            shelf.groups = lambda row, groups=shelf.groups: self._without_nulls(groups(row))

    def _without_nulls(self, groups: Any) -> Iterator[Any]:
        return (pair for pair in groups if None not in pair[1])


@caught_by("identity.unique_is_freed")
class never_frees_unique_values(Model):
    def ensure(self, collections: Any) -> None:
        super().ensure(collections)
        for shelf in self.shelves.values():
            shelf.drop = lambda key, shelf=shelf: self._dropped(shelf, key)

    def _dropped(self, shelf: HeldShelf, key: Key) -> StoredRow:
        row = HeldShelf.drop(shelf, key)
        for group, value in shelf.groups(row.values):
            if None not in value and group[0] != "":
                shelf.taken[group][value] = ("gone",)
        return row


@caught_by("identity.uid_is_of_its_stream")
class takes_uids_for_global(Model):
    def ensure(self, collections: Any) -> None:
        super().ensure(collections)
        for shelf in self.shelves.values():
            shelf.groups = lambda row, groups=shelf.groups: self._without_stream(groups(row))
            shelf.taken = defaultdict(dict)  # by uid, whatever the stream

    def _without_stream(self, groups: Any) -> Iterator[Any]:
        return ((group, value[-1:] if group[0] == "" else value) for group, value in groups)


@caught_by("identity.appended_again_adds_nothing", "identity.uid_with_other_content")
class appends_again_what_is_there(Model):
    def ensure(self, collections: Any) -> None:
        super().ensure(collections)
        for shelf in self.shelves.values():
            shelf.groups = lambda row, groups=shelf.groups: self._without_identity(groups(row))

    def _without_identity(self, groups: Any) -> Iterator[Any]:
        return (pair for pair in groups if pair[0][0] != "")


@caught_by("identity.immutable_is_kept")
class changes_the_immutable(Model):
    def ensure(self, collections: Any) -> None:
        changeable = [attrs.evolve(c, immutable=c.log) for c in collections]
        super().ensure(changeable)


@caught_by("references.dangling_is_refused", "references.several_columns")
class lets_references_dangle(Model):
    def _check_references(self, write: Write) -> None:
        pass


@caught_by("references.referenced_is_not_deleted", "references.cascade_is_held_up")
class deletes_what_is_referred_to(Model):
    def _check_unreferenced(self, collection: Collection, key: Key) -> None:
        pass


@caught_by(
    "references.cascade", "references.cascade_is_held_up", "references.deleted_and_put_again"
)
class forgets_to_cascade(Model):
    def _check_unreferenced(self, collection: Collection, key: Key) -> None:
        if collection.name != "kit_orders":
            super()._check_unreferenced(collection, key)

    def _cascade(self, collection: Collection, key: Key) -> None:
        pass


@caught_by("references.judged_after_the_batch", "references.same_batch_suffices")
class judges_references_write_by_write(Model):
    def _apply(self, write: Write, now: int) -> Outcome:
        outcome = super()._apply(write, now)
        for effect in self._effects:
            self._check_references(effect)
        return outcome


@caught_by("references.deleted_and_put_again", "references.left_dangling_by_the_batch")
class keeps_the_parts_of_what_is_put_again(Model):
    """Cascades at the end of the batch, from what is then gone."""

    def __init__(self) -> None:
        super().__init__()
        self._gone: list[tuple[Collection, Key]] = []

    def _cascade(self, collection: Collection, key: Key) -> None:
        self._gone.append((collection, key))

    def _check_removal(self, effect: Effect) -> None:
        while self._gone:
            collection, key = self._gone.pop()
            if self.shelves[collection.name].row(key) is None:
                super()._cascade(collection, key)
        super()._check_removal(effect)


@caught_by("references.left_dangling_by_the_batch")
class overlooks_what_its_own_batch_deletes(Model):
    """What is put must refer to what was there before, or comes with it."""

    def _check_targets(self, collection: Collection, row: StoredRow) -> None:
        gone = {effect.collection for effect in self._effects if isinstance(effect, Removed)}
        if gone.isdisjoint({reference.to for reference in collection.references}):
            super()._check_targets(collection, row)

    def _check_unreferenced(self, collection: Collection, key: Key) -> None:
        if not any(isinstance(effect, Stored) for effect in self._effects):
            super()._check_unreferenced(collection, key)


# -- revisions and stamps ------------------------------------------------------------------------


@caught_by("revisions.never_reused")
class numbers_after_the_newest_there_is(Model):
    def ensure(self, collections: Any) -> None:
        super().ensure(collections)
        for shelf in self.shelves.values():
            shelf.drop = lambda key, shelf=shelf: self._dropped(shelf, key)

    def _delete(self, shelf: HeldShelf, key: Key, expect: Any) -> Outcome:
        outcome = super()._delete(shelf, key, expect)
        for stream in shelf.heads:
            of = shelf.collection.stream_of
            left = (r.revision for r in shelf.rows.values() if of(r.values) == stream)
            shelf.heads[stream] = max(left, default=0)
        return outcome

    def _dropped(self, shelf: HeldShelf, key: Key) -> StoredRow:
        return HeldShelf.drop(shelf, key)


@caught_by("revisions.no_gap_after_a_refusal")
class uses_up_revisions_when_it_refuses(Wrapper):
    def commit(self, batch: Batch) -> Receipt:
        with self.engine._lock:
            return self._committed(batch)

    def _committed(self, batch: Batch) -> Receipt:
        try:
            return self.engine.commit(batch)
        except QuantkeepError:
            for write in batch.writes:
                if isinstance(write, Append):
                    for row in write.rows:
                        self._use_up(write.collection, row)
            raise

    def _use_up(self, collection: Collection, row: SealedRow) -> None:
        heads = self.engine._model.shelves[collection.name].heads
        stream = collection.stream_of(row.values)
        heads[stream] = heads.get(stream, 0) + 1


@caught_by("revisions.updates_keep_created_at")
class resets_created_at(Wrapper):
    def commit(self, batch: Batch) -> Receipt:
        with self.engine._lock:
            receipt = self.engine.commit(batch)
            for write in batch.writes:
                if isinstance(write, Put) and write.row.created_at is None:
                    self._restamp(write.collection, write.collection.key_of(write.row.values))
            return receipt

    def _restamp(self, collection: Collection, key: Key) -> None:
        rows = self.engine._model.shelves[collection.name].rows
        if key in rows:
            rows[key] = rows[key]._replace(created_at=rows[key].updated_at)


# -- operation ids -------------------------------------------------------------------------------


@caught_by(
    "operations.replay_changes_nothing",
    "operations.other_batch_conflicts",
    "operations.resolve",
    "operations.ids_are_exact",
    "operations.once_between_threads",
)
class forgets_operation_ids(Wrapper):
    def commit(self, batch: Batch) -> Receipt:
        return self.engine.commit(attrs.evolve(batch, op_id=None))


@caught_by("operations.other_batch_conflicts")
class replays_any_batch_under_an_id(Wrapper):
    def commit(self, batch: Batch) -> Receipt:
        known = self.engine.outcome(batch.op_id) if batch.op_id is not None else None
        return known or self.engine.commit(batch)


@caught_by("operations.refused_batch_leaves_the_id_free")
class remembers_what_it_refused(Wrapper):
    def commit(self, batch: Batch) -> Receipt:
        try:
            return self.engine.commit(batch)
        except QuantkeepError:
            if batch.op_id is not None and not self.engine.outcome(batch.op_id):
                self.engine.commit(Batch((), batch.op_id))
            raise


# -- honesty and embedding -----------------------------------------------------------------------


@caught_by("embedding.more_threads_than_connections", "one_winner.threads")
class loses_a_connection_with_each_refusal(Wrapper):
    """Has enough of them for one clause, and too few for a crowd."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.left = iter(range(30))

    def commit(self, batch: Batch) -> Receipt:
        if self.left is None:
            raise Busy("all connections are in use")
        try:
            return self.engine.commit(batch)
        except Conflict:
            if next(self.left, None) is None:
                self.left = None
            raise


@caught_by(
    "honesty.level_fits_capabilities", "honesty.demanded_level", "honesty.description_agrees"
)
class claims_to_survive_a_power_cut(Wrapper):
    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.durability = Durability.DISK

    def health(self) -> Any:
        return attrs.evolve(self.engine.health(), durability=Durability.DISK)


@caught_by("honesty.snapshot_reads")
class reads_as_it_goes(Wrapper):
    """Claims reads of a snapshot, and looks at each row again as it comes to it."""

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        for row in self.engine.scan(collection, query):
            now = self.engine.get(collection, collection.stored_key(row))
            if now is not None:
                yield now


@caught_by("honesty.snapshot_reads")
class takes_its_snapshot_at_the_first_row(Wrapper):
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        yield from self.engine.scan(collection, query)


class ListsAnotherLevel(Front):
    """Is listed with what its engine could do."""

    @hookimpl(wrapper=True)
    def quantkeep_backend(self) -> Any:
        listed = yield
        return [attrs.evolve(info, durability=Durability.DISK) for info in listed]


lists_another_level = ListsAnotherLevel(Wrapper, ["honesty.description_agrees"])


@caught_by("honesty.failpoints_are_listed", "honesty.description_agrees")
class claims_failpoints_it_does_not_have(Wrapper):
    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.capabilities |= Capability.FAILPOINTS


class _Mixing(Wrapper):
    """Finds blobs in whichever keep has them, as a cache of the process would."""

    def __init__(self, engine: Any, all_of_them: Any) -> None:
        super().__init__(engine)
        self.all_of_them = all_of_them
        all_of_them.add(self)

    def open_blob(self, digest: str) -> bytes | None:
        found = (one.engine.open_blob(digest) for one in self.all_of_them)
        return reduce(lambda a, b: a if a is not None else b, found, None)

    def close(self) -> None:
        self.all_of_them.discard(self)
        super().close()


@caught_by("embedding.keeps_are_apart")
class shares_blobs_between_keeps(_Mixing):
    everyone: ClassVar[Any] = weakref.WeakSet()

    def __init__(self, engine: Any) -> None:
        super().__init__(engine, self.everyone)


class ShowsPasswords(Front):
    """Says in its errors what it was to open, whole."""

    @hookimpl(wrapper=True)
    def quantkeep_open(self, url: Any) -> Any:
        try:
            return (yield)
        except QuantkeepError as error:
            raise type(error)(f"{url.full} cannot be opened: {error}") from None


shows_passwords_in_errors = ShowsPasswords(Wrapper, ["secrets.errors"])
