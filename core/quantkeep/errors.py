"""Everything quantkeep raises on purpose.

* QuantkeepError
  + Invalid (ValueError)               what was given cannot be stored or asked for
    - InvalidValue                     a field's value; names record, field and value
      . TooLarge                       over a declared size limit
    - InvalidReference                 a reference to something that is not stored
    - InvalidQuery                     an unknown column, operator, limit or cursor
    - InvalidRecord                    a record class or its schema
    - InvalidUrl                       a URL or configuration that cannot be understood
      . UnknownBackend (LookupError)   no installed backend answers to the scheme
  + NotFound (LookupError)             the key, session, revision or keep is not there
  + Conflict                           what is stored is not what the writer expected
    - AlreadyExists                    the key is taken by other content
    - OperationConflict                the operation id was used for another batch
    - StillReferenced                  deletion of what others refer to
    - Unmerged                         the fallback holds what was never brought back
    - ResumeRefused                    a session's state fails the checks of its resume
  + StaleOwner                         the lease moved on: this owner may not write any more
  + Corrupt                            stored bytes are not what was written
    - Regression                       the store is older than what this handle has already seen
  + FormatTooNew                       written by a newer quantkeep or schema
  + UpgradeNeeded                      the keep is of an older schema and may not be migrated
  + Unsupported                        the backend does not claim this capability
  + Unavailable (ConnectionError)      the engine cannot be reached or the handle cannot be used
    - Closed                           the keep was closed
    - UsedAfterFork                    a handle opened before a fork was used in the child
    - ReadOnly                         opened read-only, or the engine accepts no writes
    - PermissionDenied                 the engine or file system refuses this user
    - WriterPoisoned                   a failed fsync: reopen to learn what is there
  + DriverMissing (ImportError)        the backend is here, the driver it needs is not
  + Busy (TimeoutError)                others held the lock for longer than the time allowed
  + StoreFull                          no space left for the write
  + DurabilityNotMet                   the level demanded at open is not reached
  + OutcomeUnknown                     the commit may have happened: resolve its operation id

Each error says whether its commit was applied (``"no"``, ``"yes"``, ``"unknown"``) and whether the
same call may simply be made again. The driver's own error, scrubbed of URLs and credentials, is
its ``__cause__``.
"""

from typing import Any, Literal

Applied = Literal["no", "yes", "unknown"]


class QuantkeepError(Exception):
    """Base of every error raised on purpose.

    Attributes:
        applied: whether the commit this error ended was applied.
        retryable: whether making the same call again can succeed without any other change.
        op_id: the operation id the commit carried, if it carried one.
    """

    applied: Applied = "no"
    retryable: bool = False
    op_id: str | None = None

    def __init__(self, message: str, *, op_id: str | None = None) -> None:
        super().__init__(message)
        if op_id is not None:
            self.op_id = op_id


class Invalid(QuantkeepError, ValueError):
    """What was given cannot be stored, or asked for; nothing was written."""


class InvalidValue(Invalid):
    """A value that its field does not take.

    Attributes:
        record: name of the record type, or ``None`` outside a record.
        field: the field, or the path inside a document (``positions['BTC'].order_a``).
        value: the value itself.
        expected: what would have been taken, in words.
    """

    def __init__(
        self,
        message: str,
        *,
        record: str | None = None,
        field: str | None = None,
        value: object = None,
        expected: str | None = None,
        op_id: str | None = None,
    ) -> None:
        where = ".".join(part for part in (record, field) if part)
        text = f"{where}: {message}" if where else message
        super().__init__(f"{text}; expected {expected}" if expected else text, op_id=op_id)
        self.message = message
        self.record = record
        self.field = field
        self.value = value
        self.expected = expected

    def within(self, record: str, field: str) -> "InvalidValue":
        """The same complaint, placed in *field* of *record*."""
        path = (
            field if not self.field else f"{field}{'' if self.field[0] == '[' else '.'}{self.field}"
        )
        return type(self)(
            self.message, record=record, field=path, value=self.value, expected=self.expected
        )

    def of(self, key: object) -> "InvalidValue":
        """The same complaint, about the one of many records that is known as *key*."""
        return type(self)(
            f"{self.message}, of {key!r}",
            record=self.record, field=self.field, value=self.value, expected=self.expected,
        )  # fmt: skip


class TooLarge(InvalidValue):
    """A document, record or batch over its declared limit."""


class InvalidReference(Invalid):
    """A record refers to one that is not stored."""


class InvalidQuery(Invalid):
    """A query names a column, operator, limit or cursor that the collection does not have."""


class InvalidRecord(Invalid):
    """A record class, or the schema it declares, cannot be kept."""


class InvalidUrl(Invalid):
    """A URL or a configuration that cannot be understood."""


class UnknownBackend(InvalidUrl, LookupError):
    """No installed backend answers to a URL's scheme."""


class NotFound(QuantkeepError, LookupError):
    """The key, session, revision or keep asked for is not there."""


class Conflict(QuantkeepError):
    """What is stored is not what the writer expected; nothing was written.

    Read again, decide again, and commit anew.
    """


class AlreadyExists(Conflict):
    """The key is taken, by other content."""


class OperationConflict(Conflict):
    """The operation id was already used, for another batch."""


class StillReferenced(Conflict):
    """What was to be deleted is referred to by other records."""


class ResumeRefused(Conflict):
    """A session's state fails the checks that its program resumes under; nothing was written.

    Attributes:
        session_id: the session.
        problems: what the failed checks say.
    """

    def __init__(
        self,
        message: str,
        *,
        session_id: str = "",
        problems: tuple[str, ...] = (),
        op_id: str | None = None,
    ) -> None:
        super().__init__(message, op_id=op_id)
        self.session_id = session_id
        self.problems = problems


class Unmerged(Conflict):
    """The fallback holds what was written while the first place could not be reached.

    Run ``quantkeep merge`` before the first place is gone on with.
    """


class StaleOwner(QuantkeepError):
    """The lease has moved on to another owner; this one may not write any more.

    Attributes:
        held: the fencing token the caller holds.
        current: the fencing token the store knows, or ``None`` if there is no lease.
    """

    def __init__(
        self, message: str, *, held: int = 0, current: int | None = None, op_id: str | None = None
    ) -> None:
        super().__init__(message, op_id=op_id)
        self.held = held
        self.current = current


class Corrupt(QuantkeepError):
    """Stored bytes are not what was written. Never reported as absent, never skipped.

    Attributes:
        locator: where the damage is: collection and key, or a path.
        newest_good: for snapshots, the newest revision that passes its check, if there is one.
    """

    def __init__(
        self,
        message: str,
        *,
        locator: str | None = None,
        newest_good: int | None = None,
        op_id: str | None = None,
    ) -> None:
        super().__init__(message, op_id=op_id)
        self.locator = locator
        self.newest_good = newest_good


class Regression(Corrupt):
    """The store is older than what this handle has already seen: a backup was put back under it."""


class FormatTooNew(QuantkeepError):
    """Written by a newer quantkeep or a newer schema; upgrade the reader."""


class UpgradeNeeded(QuantkeepError):
    """The keep's schema is older than the program's; open with ``migrate=True`` or upgrade it."""


class Unsupported(QuantkeepError):
    """The backend does not claim this capability; see ``quantkeep backends``."""


class Unavailable(QuantkeepError, ConnectionError):
    """The engine cannot be reached, or this handle cannot be used; nothing was written."""

    retryable = True


class DriverMissing(QuantkeepError, ImportError):
    """The backend is installed, the driver it needs is not."""


class Closed(Unavailable):
    """The keep was closed."""

    retryable = False


class UsedAfterFork(Unavailable):
    """A handle opened before a fork was used in the child; open the keep again there."""

    retryable = False


class ReadOnly(Unavailable):
    """The keep was opened read-only, or its engine accepts no writes."""

    retryable = False


class PermissionDenied(Unavailable):
    """The engine or the file system refuses this user."""

    retryable = False


class WriterPoisoned(Unavailable):
    """An fsync failed, so what is on disk is not known; close the keep and open it again."""

    retryable = False
    applied = "unknown"


class Busy(QuantkeepError, TimeoutError):
    """Others held the lock for longer than the time allowed; nothing was written."""

    retryable = True


class StoreFull(QuantkeepError):
    """No space left for the write; nothing was written, and what is stored can still be read."""


class DurabilityNotMet(QuantkeepError):
    """The engine, as configured, does not reach the durability level demanded at open."""


class OutcomeUnknown(QuantkeepError):
    """The commit may or may not have been applied: the answer was lost.

    ``keep.resolve(error.op_id)`` tells, if the commit carried an operation id; committing the same
    batch again under the same id is safe.
    """

    applied = "unknown"


def scrubbed(error: BaseException, *secrets: str) -> Exception:
    """A copy of a driver's *error*, fit to be a ``__cause__``: no URL, no *secrets* (Z-15)."""
    import re

    text = re.sub(r"\b[\w+.-]+://\S+", "<url>", str(error))
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return DriverError(f"{type(error).__module__}.{type(error).__qualname__}: {text}")


class DriverError(Exception):
    """What a driver said, without its credentials. Only ever a ``__cause__``."""


def missing(what: str, detail: Any = None) -> NotFound:
    """A :class:`NotFound` in the house's words."""
    return NotFound(f"{what} is not stored" + (f": {detail}" if detail is not None else ""))
