"""Making a commit, and finding out what became of one whose answer was lost."""

import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from quantkeep.batch import Append, Batch, Delete, Receipt
from quantkeep.errors import (
    Busy,
    Conflict,
    DurabilityNotMet,
    OutcomeUnknown,
    QuantkeepError,
    Regression,
    Unavailable,
    scrubbed,
)
from quantkeep_backends.redis import batches, judgements, operations
from quantkeep_backends.redis.appends import Appends
from quantkeep_backends.redis.arranging import Stored
from quantkeep_backends.redis.catalogue import Catalogue
from quantkeep_backends.redis.keys import Names, taken_apart
from quantkeep_backends.redis.link import Link, Lost
from quantkeep_backends.redis.packets import as_one
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.sources import count
from quantkeep_backends.redis.staging import Learnt, Staging
from quantkeep_backends.redis.steps import step

_TRIES: Final = 20  # times that other programs may change what a commit was prepared for
_PER_ROW: Final = 50e-6  # seconds that a slow server may take for each row of a large append
_DIGESTS: Final = 500  # that one script notes
_AGAIN: Final = frozenset({"schema", "changed", "unstaged"})


class Watermark:
    """The latest commit that this handle has seen, so that a store that went back is noticed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.number, self.id = 0, ""

    def note(self, number: int, commit_id: str = "") -> None:
        """The store has come as far as *number*."""
        with self._lock:
            if number > self.number:
                self.number, self.id = number, commit_id

    @property
    def arguments(self) -> tuple[int, str]:
        """As scripts take it."""
        with self._lock:
            return self.number, self.id

    def regressed(self, found: str, where: str) -> Regression:
        """The store is behind what was seen of it."""
        return Regression(
            f"{where}: the keep has made {found} commits, and this handle has seen commit "
            f"{self.number}, which is not among them: the server lost what it had acknowledged (a "
            "failover, or an older file put back); stop, and compare before going on",
            locator=where,
        )


class Commits:
    """Commits of one handle."""

    def __init__(
        self, link: Link, names: Names, catalogue: Catalogue,
        identity: Callable[[Delete], str], stored: Stored, seen: Watermark,
    ) -> None:  # fmt: skip
        self._link = link
        self._names = names
        self._catalogue = catalogue
        self._identity = identity
        self._stored = stored
        self._numbers = itertools.count(1)
        self._handle = os.urandom(8).hex()
        self.seen = seen
        self.crowded: Callable[[str], None] = lambda stream: None

    def commit(self, batch: Batch) -> Receipt:
        """Apply all of *batch*, or nothing; raises what :meth:`Backend.commit` does."""
        attempt = _Attempt(batch)
        for _ in range(_TRIES):
            answer = self._answer(attempt)
            if not answer:  # what was sent ahead turned out to be known: now it is left out
                continue
            said = answer[0].decode()
            if said in ("ok", "same", "replayed"):
                return self._receipt(batch, said, answer)
            if said == "regressed":
                raise self.seen.regressed(answer[1].decode(), self._link.settings.where)
            self._prepare_again(attempt, said, answer)
        raise Conflict("what the batch was prepared for changed again and again: try again")

    def _prepare_again(self, attempt: "_Attempt", said: str, answer: list[Any]) -> None:
        why = answer[2].decode() if said == "no" else said
        if why == "schema":
            self._catalogue.look()
        elif why == "dupes":
            attempt.learn(answer)
        elif why == "undigested":
            self._digest(answer[1])
        elif why in _AGAIN:
            attempt.learnt.forget()
        else:
            raise judgements.refused(attempt.batch, self._catalogue.shape, answer)

    def _receipt(self, batch: Batch, said: str, answer: list[Any]) -> Receipt:
        if said == "replayed":
            return operations.replayed(answer[2], batch.op_id or "", batch.digest())
        receipt = Receipt.from_json(answer[2].decode(), batch.op_id or "")
        for stream in answer[3:]:
            self.crowded(stream.decode())
        return Receipt(receipt.outcomes, receipt.at, batch.op_id)

    def _digest(self, told: Sequence[Sequence[bytes]]) -> None:
        """Note the digests of entries that a large append stored without, to compare with them."""
        said: list[Any] = []
        for stream, identity, revision in told:
            log, _, of = stream.decode().partition(":")
            shape = self._catalogue.shape(log)
            key = taken_apart(shape.stream_columns, of)
            found = self._stored.digests(shape, key, [int(revision)])
            said += [(stream, identity, revision, d) for d in found.values()]
        for start in range(0, len(said), _DIGESTS):
            some = said[start : start + _DIGESTS]
            arguments = [each for entry in some for each in entry]
            script("digest").run(self._link, self._names.meta, len(some), *arguments)

    # -- sending -----------------------------------------------------------------------------------

    def _answer(self, attempt: "_Attempt") -> list[Any]:
        for last in (False, True):
            commit_id = f"{self._handle}{next(self._numbers):012x}"
            seen = self.seen.arguments
            with Staging(self._link, self._names, commit_id, attempt.learnt) as staging:
                name, number, arguments = self._prepared(attempt, staging)
                if not name:
                    return []
                try:
                    return self._sent(name, (number, commit_id, *seen, *arguments), commit_id)
                except Lost as error:
                    found = self._resolved(attempt.batch, commit_id, seen[0], error)
            if found is not None:
                return found
            if last:
                raise Unavailable(
                    f"{self._link.settings.where}: the connection was lost twice, and the commit "
                    "was not made: try again"
                )
        raise AssertionError

    def _prepared(self, attempt: "_Attempt", staging: Staging) -> tuple[str, str, list[Any]]:
        """The script for a batch, the description it was prepared by, and its arguments."""
        batch = attempt.batch
        operation = (batch.op_id, batch.digest().hex()) if batch.op_id is not None else ("", "")
        number = self._catalogue.number
        shape = self._catalogue.shape(batch.writes[0].collection.name) if batch.writes else None
        row = batches.only_entry(batch, shape) if shape else None
        if shape and row:
            return "append", number, [*operation, *batches.entry(shape, row)]
        appends = Appends(batch, attempt.learnt, self._stored, staging)
        writes = batches.arguments(batch, self._catalogue.shape, appends, self._identity)
        attempt.streams = appends.streams
        if writes is None:
            return "", number, []
        name = "commit_packed" if attempt.streams else "commit"
        return name, number, [*operation, *writes]

    def _sent(self, name: str, arguments: Sequence[Any], commit_id: str) -> list[Any]:
        wait = self._link.settings.wait
        then = ("WAIT", wait, int(self._link.settings.timeout * 1000)) if wait else ()
        # A live append is one of few arguments, whose script begins without unpacking them.
        said = arguments if name == "append" else (as_one(arguments),)
        step("redis.commit.send", self._link)
        answers = script(name).run(self._link, self._names.meta, *said, then=then)
        answer: list[Any] = answers[0]
        try:
            step("redis.commit.answered", self._link)
        except QuantkeepError as error:
            raise OutcomeUnknown(f"the commit's answer was lost ({error})") from error.__cause__
        if answer[0] in (b"ok", b"same", b"replayed"):
            self.seen.note(int(answer[1]), commit_id if answer[0] == b"ok" else "")
            self._check_replicas(answers)
        return answer

    def _check_replicas(self, answers: list[Any]) -> None:
        wanted = self._link.settings.wait
        if wanted and (not isinstance(answers[1], int) or answers[1] < wanted):
            error = DurabilityNotMet(
                f"{self._link.settings.where}: the commit was made, but {wanted} replicas were "
                f"asked for and {answers[1]} have it: see that they are connected"
            )
            error.applied = "yes"
            raise error

    # -- after the answer was lost -----------------------------------------------------------------

    def _resolved(self, batch: Batch, commit_id: str, sent_at: int, lost: Lost) -> list[Any] | None:
        """The answer after all; ``None``: the commit was not made, and will not be."""
        deadline = time.monotonic() + self._link.settings.timeout + _PER_ROW * _rows(batch)
        cause = scrubbed(lost.__cause__ or lost, *self._link.settings.secrets)
        while time.monotonic() < deadline:
            try:
                answer = script("resolve").run(self._link, self._names.meta, commit_id, sent_at)[0]
            except (Unavailable, Busy, Lost):  # busy with this very commit, it may be
                time.sleep(0.02)
                continue
            except QuantkeepError:
                break
            said = answer[0].decode()
            if said == "never":
                return None
            if said == "done":
                self.seen.note(int(answer[1]), commit_id)
                self._check_replicas([answer, "nobody knows whether they"])
                return [b"ok", *answer[1:]]
            break
        raise OutcomeUnknown(
            f"{self._link.settings.where}: the answer to the commit was lost"
            + (": ask keep.resolve, or commit the same again" if batch.op_id else ""),
            op_id=batch.op_id,
        ) from cause


@attrs.define
class _Attempt:
    """A batch, and what was learnt of the store while it was tried."""

    batch: Batch
    learnt: Learnt = attrs.field(factory=Learnt)
    streams: dict[int, list[str]] = attrs.field(factory=dict)  # of a write's packed parts

    def learn(self, answer: list[Any]) -> None:
        """Identities that are stored already: the rows are looked at anew, without them."""
        streams = self.streams[int(answer[1]) - 1]
        for part, identity, found in zip(*[iter(answer[3:])] * 3, strict=True):
            self.learnt.learn(streams[int(part) - 1], identity.decode(), found)


def _rows(batch: Batch) -> int:
    """How many rows are appended, as far as that is known."""
    return sum(count(write) or 0 for write in batch.writes if isinstance(write, Append))
