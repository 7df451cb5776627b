"""An S3 bucket: every request is one of ours, bypasses fsspec's caches, and is made once.

Clients that try again by themselves cannot tell whether the first try was applied; here a write
whose answer was lost is looked for before anything is said of it.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar

from botocore.exceptions import NoCredentialsError

from quantkeep.backend import Durability
from quantkeep.errors import (
    NotFound,
    PermissionDenied,
    QuantkeepError,
    StoreFull,
    Unavailable,
    Unsupported,
    scrubbed,
)
from quantkeep.failpoints import passing
from quantkeep_backends._files import durable
from quantkeep_backends._files.log import unknown
from quantkeep_backends._files.medium import Entry
from quantkeep_backends.parquet._s3_client import (
    TROUBLE,
    code_of,
    held,
    microseconds,
    shared,
    status_of,
    was_sent,
)

T = TypeVar("T")

_NOBODYS: Final = f'"{"0" * 32}"'  # the tag of no content
TRIES: Final = 4  # of what can be done twice without harm
_PROBE: Final = "_probe"  # exists, so that it can be seen whether a second creation is refused
_FULL: Final = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity"}
_proven: set[tuple[str, str]] = set()  # endpoints and buckets whose conditional put was tried


class S3Files:
    """Objects below a prefix; see :class:`quantkeep_backends._files.medium.Files`."""

    durability = Durability.REPLICATED
    asking_is_cheap = False

    def __init__(
        self, bucket: str, prefix: str, options: Mapping[str, Any], timeout: float
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.root = f"s3://{bucket}/{prefix}"
        self._secrets = [
            str(options[name]) for name in ("key", "secret", "token") if name in options
        ]
        self._endpoint = str(options.get("endpoint_url", ""))
        self._system = shared(options, timeout)

    # -- writing -----------------------------------------------------------------------------------

    def create(self, name: str, data: bytes) -> bool:
        with durable.told(self.root):
            passing("files.create.write")
        for tries in range(TRIES):
            try:
                self._put(name, data, IfNoneMatch="*")
            except TROUBLE as error:
                if status_of(error) == 409 and tries < TRIES - 1:  # two at once: one has to wait
                    time.sleep(0.05 * 2**tries)
                    continue
                return self._after(name, data, error)
            with contextlib.suppress(OSError):  # it is there, whatever is made of the answer
                passing("files.create.linked")
            return True
        raise AssertionError("the last try returns or raises")

    def _after(self, name: str, data: bytes, error: Exception) -> bool:
        """Whether what was put is there, although *error* was the answer."""
        if not was_sent(error):
            self._raise(error, name)
        try:
            found = self.read(name)
        except QuantkeepError:
            raise unknown(f"{self.root}/{name}") from scrubbed(error, *self._secrets)
        if found is not None:
            return found == data  # ours is the only one with our write id
        if status_of(error) == 412:
            return False  # it was there, and has been removed since
        if 400 <= status_of(error) < 500:
            self._raise(error, name)
        raise unknown(f"{self.root}/{name}") from scrubbed(error, *self._secrets)

    def write(self, name: str, data: bytes) -> None:
        with durable.told(self.root):
            passing("files.replace.write")
        self._insist(lambda: self._put(name, data), name)
        with durable.told(self.root):
            passing("files.replace.renamed")

    def replace(self, name: str, data: bytes, known: Entry | None) -> bool:
        how = {"IfNoneMatch": "*"} if known is None else {"IfMatch": known.tag}
        with durable.told(self.root):
            passing("files.replace.write")
        return self._insist(lambda: held(lambda: self._put(name, data, **how)), name)

    def _put(self, name: str, data: bytes, **how: str) -> None:
        self._system.call_s3("put_object", **self._at(name), Body=data, **how)

    def remove(self, name: str, known: Entry | None = None) -> None:
        if known is None:
            self._insist(lambda: self._delete(name), name)
        else:
            self._insist(lambda: held(lambda: self._delete(name, IfMatch=known.tag)), name)

    def _delete(self, name: str, **how: str) -> None:
        self._system.call_s3("delete_object", **self._at(name), **how)

    # -- reading -----------------------------------------------------------------------------------

    def read(self, name: str) -> bytes | None:
        return self._insist(lambda: self._got(name), name)

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        paths = {name: f"{self.bucket}/{self._key(name)}" for name in names}
        found = self._system.cat([*paths.values()], on_error="return", max_concurrency=1)
        return [self._one_of_all(name, found.get(path)) for name, path in paths.items()]

    def _one_of_all(self, name: str, found: object) -> bytes | None:
        if isinstance(found, FileNotFoundError):
            return None
        # what failed is asked for again by itself, and patiently
        return found if isinstance(found, bytes) else self.read(name)

    def piece(self, name: str, start: int, length: int) -> bytes | None:
        return self._insist(lambda: self._got(name, start, start + length), name)

    def _got(self, name: str, start: int | None = None, end: int | None = None) -> bytes | None:
        path = f"{self.bucket}/{self._key(name)}"
        try:
            data: bytes = self._system.cat_file(path, start=start, end=end, max_concurrency=1)
        except FileNotFoundError:
            return None
        except OSError as error:
            if status_of(error) == 416:  # it ends before the piece begins
                return b""
            raise
        return data

    def look(self, name: str) -> Entry | None:
        try:
            found = self._insist(
                lambda: self._system.call_s3("head_object", **self._at(name)), name, absent=True
            )
        except FileNotFoundError:
            return None
        staged = microseconds(found["LastModified"])
        return Entry(name, found["ContentLength"], staged, found["ETag"])

    def entries(self, folder: str, after: str = "") -> Iterator[Entry]:
        prefix = self._key(f"{folder}/") if folder else self._key("")
        start = {"StartAfter": self._key(after)} if after else {}
        while True:
            page = self._insist(
                lambda start=start: self._system.call_s3(  # type: ignore[misc]  # bound now
                    "list_objects_v2", Bucket=self.bucket, Prefix=prefix, **start
                ),
                folder,
            )
            for found in page.get("Contents", ()):
                name = found["Key"].removeprefix(self._key(""))
                yield Entry(name, found["Size"], microseconds(found["LastModified"]))
            if not page.get("IsTruncated"):
                return
            start = {"ContinuationToken": page["NextContinuationToken"]}

    # -- the rest ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def turn(self, patience: float, *, must: bool = False) -> Iterator[bool]:
        yield False

    def close(self) -> None:
        """The client stays, for the next who opens a keep there."""

    def prove_guard(self) -> None:
        """See that this store refuses to create what is there, and to replace what has changed.

        It is asked once for each bucket.

        Raises:
            Unsupported: it does not.
        """
        known = (self._endpoint, self.bucket)
        if known in _proven:
            return
        refused = not self._puts_probe(IfNoneMatch="*") or not self._puts_probe(IfNoneMatch="*")
        if not refused or self._puts_probe(IfMatch=_NOBODYS):
            raise Unsupported(
                f"{self.root}: this store has no conditional put (PUT with If-None-Match, and with "
                "If-Match), so two writers could overwrite each other's commits. Open it with "
                "?single_writer=yes, and see to it that no second program writes to it"
            )
        _proven.add(known)

    def _puts_probe(self, **how: str) -> bool:
        try:
            self._put(_PROBE, b"quantkeep\n", **how)
        except TROUBLE as error:
            if status_of(error) in (409, 412):
                return False
            if status_of(error) in (400, 501):
                return True  # it does not even know what is asked
            self._raise(error, _PROBE)
        return True

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}" if self.prefix else name

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._key(name)}

    def _insist(self, act: Callable[[], T], name: str, *, absent: bool = False) -> T:
        """The result of *act*, which may be done twice."""
        for tries in range(TRIES):
            try:
                return act()
            except FileNotFoundError as error:
                if absent:
                    raise
                self._raise(error, name)
            except TROUBLE as error:
                if tries == TRIES - 1 or 400 <= status_of(error) < 500:
                    self._raise(error, name)
                time.sleep(0.02 * 4**tries)
        raise AssertionError("the last try returns or raises")

    def _raise(self, error: Exception, name: str) -> NoReturn:
        """The typed error of a request that changed nothing, or may be made again."""
        what, cause = f"{self.root}/{name}", scrubbed(error, *self._secrets)
        if isinstance(error, FileNotFoundError):
            raise NotFound(f"there is no bucket {self.bucket!r}: make it first") from cause
        if isinstance(error, PermissionError | NoCredentialsError) or status_of(error) in (
            401,
            403,
        ):
            raise PermissionDenied(f"{what}: the store refuses these credentials") from cause
        if code_of(error) in _FULL or status_of(error) == 507:
            raise StoreFull(f"{what}: the store has no room; nothing was written") from cause
        raise Unavailable(f"{what}: the store cannot be reached or gave no answer") from cause
