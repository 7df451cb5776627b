"""``filed:///path``: :class:`quantkeep.model.KeyValueKeep` in one file, written anew each time."""

import base64
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from key_value_backend import Engine, KeyValueBackend

from quantkeep import Capability, Durability, hookimpl
from quantkeep.backend import Backend
from quantkeep.batch import Batch, Outcome, Receipt
from quantkeep.contract import require_level
from quantkeep.errors import Corrupt, NotFound, Regression
from quantkeep.model import KeyValueKeep


class FiledBackend(KeyValueBackend):
    """Notices by the count of writes that an older file was put back."""

    name = "filed"
    capabilities = Capability.PERSISTENT | Capability.MULTI_PROCESS | Capability.SNAPSHOT_READS
    durability = Durability.PROCESS

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._seen = path, ("", 0)
        self._file = os.open(path.with_name("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextmanager
    def _writing(self) -> Iterator[KeyValueKeep]:
        with self._lock, self._alone():
            engine = self._loaded()
            keep = self._looked_at(engine)
            yield keep
            self.count(keep)
            self._store(engine)
            self.remember(keep)

    def count(self, keep: KeyValueKeep) -> None:
        keep.count_write()

    def _reading(self) -> KeyValueKeep:
        return self._looked_at(self._loaded())

    def _looked_at(self, engine: Engine) -> KeyValueKeep:
        keep = KeyValueKeep(engine)
        with self._lock:
            identity, writes = keep.state()
            if self._seen[0] and (identity != self._seen[0] or writes < self._seen[1]):
                raise Regression(f"{self._path} went back")
            self._seen = identity, writes
        return keep

    def remember(self, keep: KeyValueKeep) -> None:
        self._seen = keep.state()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _loaded(self) -> Engine:
        if not self._path.exists():
            return Engine()
        said = json.loads(self._path.read_text())
        return Engine({base64.b64decode(k): base64.b64decode(v) for k, v in said.items()})

    def _store(self, engine: Engine) -> None:
        said = {
            base64.b64encode(k).decode(): base64.b64encode(v).decode() for k, v in engine.items()
        }
        anew = self._path.with_name("anew")
        anew.write_text(json.dumps(said))
        anew.rename(self._path)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


class CountsNoWrites(FiledBackend):
    """Forgets what tells an older file from the newest."""

    def count(self, keep: KeyValueKeep) -> None:
        pass


class RemembersWhatItReads(FiledBackend):
    """Forgets how far its own writes have brought it."""

    def remember(self, keep: KeyValueKeep) -> None:
        pass


class BelievesItsReceipts(FiledBackend):
    """Reads no more of them than it needs."""

    def commit(self, batch: Batch) -> Receipt:
        try:
            return super().commit(batch)
        except Corrupt as error:
            return self._believed(str(batch.op_id), error)

    def outcome(self, op_id: str) -> Receipt | None:
        try:
            return super().outcome(op_id)
        except Corrupt as error:
            return self._believed(op_id, error)

    def _believed(self, op_id: str, error: Corrupt) -> Receipt:
        if op_id not in (error.locator or ""):
            raise error
        return Receipt((Outcome(range(1, 2), 1),), self.now(), op_id, replayed=True)


class ForgetsWhatItCannotRead(FiledBackend):
    """Takes a receipt that was changed for none."""

    def outcome(self, op_id: str) -> Receipt | None:
        try:
            return super().outcome(op_id)
        except Corrupt:
            return None


class ChecksNoReceipts(FiledBackend):
    """Finds nothing where nobody asks."""

    def check(self) -> list[str]:
        return []


class Filed:
    """A quantkeep plugin that serves ``filed://`` with one class of backend."""

    def __init__(self, backend: Callable[[Path], Backend]) -> None:
        self.backend = backend

    @hookimpl
    def quantkeep_open(self, url: Any, opening: Any) -> Backend | None:
        if url.scheme != FiledBackend.name:
            return None
        if not url.path.exists() and not opening.create:
            raise NotFound(f"nothing is at {url.path}")
        require_level(FiledBackend.durability, opening.durability, url)
        return self.backend(url.path)


SOUND = Filed(FiledBackend)
counts_no_writes = Filed(CountsNoWrites)
remembers_what_it_reads = Filed(RemembersWhatItReads)
believes_its_receipts = Filed(BelievesItsReceipts)
forgets_what_it_cannot_read = Filed(ForgetsWhatItCannotRead)
checks_no_receipts = Filed(ChecksNoReceipts)
