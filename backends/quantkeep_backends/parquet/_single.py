"""Any file system of fsspec, for one writer alone: it can neither create exclusively nor sync.

A fence keeps a second writer out as far as that can be done: whoever writes first leaves a mark,
and looks whether it is still its own before each commit.
"""

import contextlib
import errno
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import fsspec

from quantkeep.backend import Durability
from quantkeep.errors import (
    InvalidUrl,
    PermissionDenied,
    QuantkeepError,
    ReadOnly,
    Unavailable,
    scrubbed,
)
from quantkeep.failpoints import passing
from quantkeep_backends._files import durable
from quantkeep_backends._files.log import unknown
from quantkeep_backends._files.medium import Entry

FENCE: Final = "_writer"
# Stores that have an object whole or not at all; elsewhere a file is made beside its place first.
WHOLE: Final = {"abfs", "az", "gcs", "gs", "memory", "oss", "s3", "s3a"}


class SingleWriterFiles:
    """Files of a file system; see :class:`quantkeep_backends._files.medium.Files`."""

    asking_is_cheap = False

    def __init__(
        self, protocol: str, path: str, options: Mapping[str, Any], durability: Durability
    ) -> None:
        self.durability = durability
        self.root = f"{protocol}://{path}"
        self._path = path
        self._is_whole = protocol in WHOLE
        self._writer = uuid.uuid4().hex.encode()
        self._fenced = False
        self._lock = threading.Lock()
        try:
            self._system = fsspec.filesystem(
                protocol, **options, use_listings_cache=False, skip_instance_cache=True
            )
        except (TypeError, ValueError, KeyError) as error:
            raise InvalidUrl(
                f"{self.root}: fsspec's {protocol!r} does not take these options"
            ) from scrubbed(error, *map(str, options.values()))

    def create(self, name: str, data: bytes) -> bool:
        with self._lock:
            with self._told(name):
                passing("files.create.write")
                self._fence()
                if self._system.exists(self._at(name)):
                    return False
            try:
                with self._told(name):
                    self._put(name, data)
            except QuantkeepError as error:
                return self._after(name, data, error)
            return True

    def _after(self, name: str, data: bytes, error: QuantkeepError) -> bool:
        """Whether what was put is there, although *error* was the answer; otherwise it is not."""
        try:
            if self.read(name) == data:
                return True
            self.remove(name)
        except QuantkeepError:
            raise unknown(f"{self.root}/{name}") from error
        raise error

    def _put(self, name: str, data: bytes) -> None:
        """Make *data* the content of a file, which nobody sees half written."""
        path = self._at(name)
        folder, _, last = path.rpartition("/")
        self._system.makedirs(folder, exist_ok=True)
        if self._is_whole:
            self._system.pipe_file(path, data)
            return
        temporary = f"{folder}/.{last}.{uuid.uuid4().hex[:16]}.tmp"
        try:
            self._system.pipe_file(temporary, data)
            if self._system.size(temporary) != len(data):
                raise OSError(errno.EIO, "it was written short")
            self._system.mv(temporary, path)
        except BaseException:  # whatever ended it, nothing half written is left
            # A file system raises what it likes, which may not hide why; gc clears away what stays
            with contextlib.suppress(Exception):
                self._system.rm_file(temporary)
            raise

    def _fence(self) -> None:
        """Be the only writer, or say that somebody else is."""
        if not self._fenced:
            self._system.makedirs(self._path, exist_ok=True)
            self._system.pipe_file(self._at(FENCE), self._writer)
            self._fenced = True
        elif self._system.cat_file(self._at(FENCE)) != self._writer:
            raise ReadOnly(
                f"{self.root}: another program has become its single writer; this one may not "
                "write any more"
            )

    def write(self, name: str, data: bytes) -> None:
        with self._told(name):
            passing("files.replace.write")
            self._put(name, data)

    def replace(self, name: str, data: bytes, known: Entry | None) -> bool:
        self.write(name, data)  # there is nobody else
        return True

    def read(self, name: str) -> bytes | None:
        with self._told(name), contextlib.suppress(FileNotFoundError):
            data: bytes = self._system.cat_file(self._at(name))
            return data
        return None

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        return [self.read(name) for name in names]

    def piece(self, name: str, start: int, length: int) -> bytes | None:
        with self._told(name), contextlib.suppress(FileNotFoundError):
            data: bytes = self._system.cat_file(self._at(name), start=start, end=start + length)
            return data
        return None

    def look(self, name: str) -> Entry | None:
        with self._told(name), contextlib.suppress(FileNotFoundError):
            self._system.invalidate_cache()
            path = self._at(name)
            return Entry(name, self._system.size(path), _staged(self._system, path))
        return None

    def remove(self, name: str, known: Entry | None = None) -> None:
        with self._told(name), contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._at(name))

    def entries(self, folder: str, after: str = "") -> Iterator[Entry]:
        with self._told(folder):
            self._system.invalidate_cache()
            top = self._at(folder) if folder else self._path
            found = self._system.find(top) if self._system.exists(top) else []
            for path in sorted(found):
                known = self.look(self._name_of(path))
                if known is not None:
                    yield known

    @contextlib.contextmanager
    def turn(self, patience: float, *, must: bool = False) -> Iterator[bool]:
        yield False

    def close(self) -> None:
        """There is nothing to let go of."""

    def _name_of(self, path: str) -> str:
        """The name of a file that a listing calls *path*, in whatever form."""
        own = self._path.strip("/")
        return path[path.index(own) + len(own) + 1 :]

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise PermissionDenied(f"{self.root}/{name}: access is refused") from scrubbed(error)
        except QuantkeepError:
            raise
        except OSError as error:
            raise durable.typed(error, f"{self.root}/{name}") from scrubbed(error)
        except Exception as error:  # noqa: BLE001  # drivers raise what they like
            raise Unavailable(f"{self.root}/{name}: the store gave no answer") from scrubbed(error)


def _staged(system: Any, path: str) -> int:
    moment = system.modified(path)
    return int(moment.timestamp() * 1_000_000)
