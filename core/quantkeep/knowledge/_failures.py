"""Keeping failures, with their tags as rows of their own."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from quantkeep.batch import ABSENT, Receipt, Write
from quantkeep.errors import AlreadyExists, InvalidValue
from quantkeep.knowledge._rules import IDS, Rules
from quantkeep.knowledge.records import Backtest, Failure, FailureTag
from quantkeep.knowledge.strategy_ids import content_hash
from quantkeep.query import Condition, Exists, Where, where
from quantkeep.store import PendingBatch


class Failures(Rules):
    """Failures and their tags."""

    def save_failures(
        self,
        backtest_id: str,
        failures: Iterable[Failure],
        *,
        created_at: Sequence[datetime] | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Store what went wrong in a backtest, all of it or nothing (KB-9, KB-31).

        Failures that are stored already, with the same content, add nothing; those without an id
        get one that follows from their content. Imports give *created_at*: when each was noted.

        Raises:
            InvalidReference: the backtest is not stored.
            AlreadyExists: an id is stored with another content; names the fields that differ.
        """
        backtest = self._referred(Failure, Backtest, backtest_id, batch=batch)
        placed = self._with_ids([_placed(failure, backtest) for failure in failures])
        stamps: Sequence[datetime | None] = created_at or [None] * len(placed)
        if len(stamps) != len(placed):
            raise InvalidValue(
                f"are {len(stamps)} for {len(placed)} failures",
                record="Failure", field="created_at", expected="one for each failure",
            )  # fmt: skip
        pairs = [*zip(placed, stamps, strict=True)]
        if batch is not None:
            return self._commit(*self._writes(pairs, batch), batch=batch)
        try:
            return self._commit_new(pairs, op_id)
        except AlreadyExists:
            return self._commit_new(pairs, op_id)  # another writer was first; with the same?

    def _commit_new(
        self, pairs: Sequence[tuple[Failure, datetime | None]], op_id: str | None
    ) -> Receipt:
        writes = self._writes(pairs, None)
        return self._commit(*writes, op_id=op_id) if writes else self._receipt_of(op_id)

    def _writes(
        self, pairs: Sequence[tuple[Failure, datetime | None]], batch: PendingBatch | None
    ) -> list[Write]:
        return [w for failure, stamp in pairs for w in self._failure_writes(failure, stamp, batch)]

    def _failure_writes(
        self, failure: Failure, created_at: datetime | None, batch: PendingBatch | None
    ) -> list[Write]:
        stored = self._find(Failure, failure.failure_id, batch=batch)
        if stored is not None and not self._replays(batch):
            self._check_same(failure, stored, moving=("state",))
            return []
        tags = [
            FailureTag(
                failure_id=failure.failure_id,
                tag=tag,
                category=failure.category,
                run_id=failure.run_id,
            )
            for tag in dict.fromkeys(failure.tags)
        ]
        puts = [self._put(tag, created_at=created_at) for tag in tags]
        return [self._put(failure, ABSENT, created_at), *puts]

    def _with_ids(self, failures: Sequence[Failure]) -> list[Failure]:
        """Ids for those without: equal ones have one each, and the same when saved again."""
        seen: Counter[str] = Counter()
        return [
            failure if failure.failure_id else self._with_id(failure, seen) for failure in failures
        ]

    def _with_id(self, failure: Failure, seen: Counter[str]) -> Failure:
        said: dict[str, Any] = failure.as_dict()
        del said["failure_id"], said["state"]
        content = content_hash(said, "Failure", self._home.hosts)
        seen[content] += 1
        return failure.replace(failure_id=str(uuid5(IDS, f"failure/{content}/{seen[content]}")))

    def set_failure_state(
        self,
        failure_id: str,
        state: Literal["OPEN", "CONFIRMED", "RESOLVED", "DEPRECATED"],
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Record what became of a failure; raises :class:`NotFound`."""
        return self._change(Failure, failure_id, changes={"state": state}, op_id=op_id, batch=batch)

    # -- reading -----------------------------------------------------------------------------------

    def failure(self, failure_id: str) -> Failure:
        """The failure; raises :class:`NotFound`."""
        return self._fetch(Failure, failure_id)

    def failures(
        self,
        *,
        run_id: UUID | None = None,
        iteration_id: int | None = None,
        strategy_id: str | None = None,
        backtest_id: str | None = None,
        category: str | None = None,
        severity: str | None = None,
        state: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> list[Failure]:
        """Failures, newest first: of one run by revision, of several by ``created_at``."""
        asked: tuple[Condition, ...] = where(
            run_id=run_id,
            iteration_id=iteration_id,
            strategy_id=strategy_id,
            backtest_id=backtest_id,
            category=category,
            severity=severity,
            state=state,
        )
        if tag is not None:
            asked = (*asked, self._tagged(tag))
        newest = "-revision" if run_id is not None else "-created_at"
        return self.table(Failure).list(*asked, order=(newest,), limit=limit)

    def _tagged(self, tag: str) -> Exists:
        tags = self.table(FailureTag).collection
        return Exists(tags, (("failure_id", "failure_id"),), (Where("tag", "==", tag),))


def _placed(failure: Failure, backtest: Backtest) -> Failure:
    return failure.replace(
        backtest_id=backtest.backtest_id,
        run_id=backtest.run_id,
        iteration_id=backtest.iteration_id,
        strategy_id=backtest.strategy_id,
    )
