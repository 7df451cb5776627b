"""Keeps on a server that are each careless in a way found in real systems."""

import time
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from naive.served import ADD, ListBackend, Listed
from quantkeep.backend import Durability
from quantkeep.batch import Append, Batch, Receipt
from quantkeep.errors import Conflict, OutcomeUnknown, Unavailable


class CarelessList(Listed):
    """A plugin as :class:`Listed` is.

    Attributes:
        clauses: those that must fail.
        perhaps: those that may fail beside them, as chance has it.
    """

    def __init__(self, backend: Callable[[Any], ListBackend], clauses: Any, perhaps: Any) -> None:
        super().__init__(backend)
        self.clauses = clauses
        self.perhaps = perhaps


def caught_by(*clauses: str, perhaps: tuple[str, ...] = ()) -> Callable[[type], CarelessList]:
    """Serve ``listed+redis://`` with a careless backend, which these *clauses* catch."""
    return lambda backend: CarelessList(backend, clauses, perhaps)


@caught_by(
    "server.stall_is_counted_once",
    perhaps=("server.connections_cut",),
)
class leaves_retries_to_the_driver(ListBackend):
    """The driver sends a command again where an answer is late, and says nothing of it."""

    script = f"for i = 1, 300000 do end {ADD}"  # so that a stall meets it, and not a read

    def connected(self, url: Any) -> redis.Redis:
        timeout = url.option("timeout", float, 5.0)
        return redis.Redis(
            host=url.parts.hostname, port=url.parts.port or 6379, socket_timeout=timeout,
            retry=Retry(NoBackoff(), 3),
        )  # fmt: skip


@caught_by(
    "server.lost_answer_is_no_verdict",
    perhaps=(
        "server.connections_cut",
        "server.stall_is_counted_once",
        "server.killed_in_mid_commit",
    ),
)
class takes_silence_for_a_refusal(ListBackend):
    def added(self, line: bytes) -> bool:
        try:
            return super().added(line)
        except OutcomeUnknown as error:
            raise Unavailable("the server did not answer") from error


@caught_by(
    "server.lost_answer_is_no_verdict",
    perhaps=("server.connections_cut", "server.stall_is_counted_once"),
)
class takes_its_own_line_for_anothers(ListBackend):
    """Looks whether its line can be added, after the answer to adding it was lost."""

    def added(self, line: bytes) -> bool:
        try:
            return super().added(line)
        except OutcomeUnknown as error:
            if self.call("LINDEX", self._key, -1) == line:
                raise Conflict("somebody else was sooner") from error
            raise


@caught_by(
    "server.connections_cut",
    "server.restarted_between_calls",
    "server.lost_answer_is_no_verdict",
    "server.killed_in_mid_commit",
    perhaps=("server.stall_is_counted_once",),
)
class never_connects_again(ListBackend):
    """Has one connection, and no other when that is gone."""

    broken = False

    def connected(self, url: Any) -> redis.Redis:
        return redis.Redis(
            host=url.parts.hostname, port=url.parts.port or 6379, single_connection_client=True,
            retry=Retry(NoBackoff(), 0),
        )  # fmt: skip

    def call(self, *words: Any) -> Any:
        if self.broken:
            raise Unavailable("the connection is broken")
        try:
            return self._client.execute_command(*words)
        except redis.RedisError:
            self.broken = True
            return self.call()

    def added(self, line: bytes) -> bool:
        try:
            return super().added(line)
        except OutcomeUnknown:
            self.broken = True
            raise


@caught_by("server.weak_settings")
class believes_in_its_server(ListBackend):
    """Claims what the server would keep as it comes, however it is configured."""

    def observed(self) -> Durability:
        return Durability.DISK


@caught_by("server.killed_at_a_lower_level", perhaps=("server.killed_in_mid_commit",))
class adds_write_by_write(ListBackend):
    """Each write of a batch in a line of its own."""

    def commit(self, batch: Batch) -> Receipt:
        if len(batch.writes) < 2 or (batch.op_id and self.outcome(batch.op_id)):
            return super().commit(batch)
        *first, last = batch.writes
        for write in first:
            super().commit(Batch((write,)))
            time.sleep(0.02)
        return super().commit(Batch((last,), batch.op_id))


@caught_by("server.slow_commits_are_not_passed_over")
class takes_numbers_before_it_commits(ListBackend):
    """As a sequence does: the number is taken first, and the commit is seen whenever it ends."""

    def commit(self, batch: Batch) -> Receipt:
        race = [
            row
            for write in batch.writes
            if isinstance(write, Append)
            for row in write.rows
            if row.values[0] == "race"
        ]
        if len(race) != 1 or len(batch.writes) > 1:
            return super().commit(batch)
        self._number = self.call("INCR", f"{self._key} numbers")
        try:
            return super().commit(batch)
        finally:
            self._number = None

    _number: int | None = None

    def _catch_up(self) -> None:
        super()._catch_up()
        if self._number is not None:
            self._begin_at(self._number)

    def _begin_at(self, number: int) -> None:
        for shelf in self._model.shelves.values():
            if shelf.collection.name == "kit_entries":
                for stream in {*shelf.heads, ("race", "paper")}:
                    shelf.heads[stream] = number - 1

    def line(self, entry: list[Any]) -> bytes:
        return super().line([*entry, ["number", self._number]])

    def _replay(self, entry: list[Any]) -> None:
        *said, last = entry
        if not (isinstance(last, list) and last[:1] == ["number"]):
            said = entry
        elif last[1] is not None:
            self._begin_at(last[1])
        super()._replay(said)
