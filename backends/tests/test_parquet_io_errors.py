"""EIO, short writes and lost connections, at every single operation of a file system."""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import quantkeep
from quantkeep import QuantkeepError
from quantkeep_backends.parquet import _bulk, _single
from quantkeep_conformance.records import Entry, Setting
from quantkeep_conformance.servers import _folders

LARGE = 30
RECORDS = (Entry, Setting)  # every compaction goes through all there are


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty rows are a large append."""
    monkeypatch.setattr(_bulk, "LARGE", LARGE)


# -- what is done while it fails -------------------------------------------------------------------

Step = Callable[[quantkeep.Keep, str], object]


def logged(*numbers: int) -> Step:
    made = [Entry(number=n, uid=f"{n}") for n in numbers]
    return lambda keep, op_id: keep.commit(keep.table(Entry).append(made), op_id=op_id)


def counted(value: int) -> Step:
    """An entry and a counter, in one commit."""

    def commit(keep: quantkeep.Keep, op_id: str) -> object:
        entry = keep.table(Entry).append([Entry(number=value, uid=f"{value}")])
        counter = keep.table(Setting).put(Setting(owner="c", name="x", value=value))
        return keep.commit(entry, counter, op_id=op_id)

    return commit


LONG = tuple(range(100, 100 + LARGE))
WORK: list[tuple[tuple[int, ...], Step]] = [
    ((1,), logged(1)),
    ((2,), counted(2)),
    (LONG, logged(*LONG)),
    ((), lambda keep, _: keep.backend.compact()),
    ((3,), counted(3)),
    ((), lambda keep, _: keep.backend.put_blob("aa", b"blob" * 99)),
    ((), lambda keep, _: keep.backend.compact()),
    ((), lambda keep, _: keep.backend.remove_garbage(keep.backend.now() + 1)),
    ((4,), logged(4)),
]


def worked(url: str) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]], int]:
    """What was acknowledged, and what nobody knows, by operation; and the number of errors."""
    acknowledged, unknown, errors = dict[str, tuple[int, ...]](), dict[str, tuple[int, ...]](), 0
    keep: quantkeep.Keep | None = None
    for number, (numbers, step) in enumerate(WORK):
        op_id = f"op {number}"
        try:
            keep = keep or opened(url)
            step(keep, op_id)
        except QuantkeepError as error:
            errors += 1
            if error.applied == "unknown":
                unknown[op_id] = numbers
            if isinstance(error, quantkeep.errors.WriterPoisoned) and keep is not None:
                keep.close()
                keep = None
        else:
            acknowledged[op_id] = numbers
    if keep is not None:
        keep.close()
    return acknowledged, unknown, errors


def opened(url: str) -> quantkeep.Keep:
    return quantkeep.open({"tape": url}, records=RECORDS)


def examine(url: str, acknowledged: dict[str, tuple[int, ...]], unknown: dict[str, Any]) -> None:
    """All that was acknowledged is there, once, and of what is unknown what the keep says of it."""
    with opened(url) as keep:
        there = {op: numbers for op, numbers in unknown.items() if keep.resolve(op) is not None}
        wanted = sorted(n for each in (acknowledged, there) for ns in each.values() for n in ns)
        found = keep.table(Entry).list()
        assert sorted(entry.number for entry in found) == wanted
        assert [entry.revision for entry in found] == [*range(1, len(found) + 1)]
        counter = keep.table(Setting).get("c", "x")
        assert (counter.value if counter else 0) == max({2, 3} & {*wanted}, default=0)
        assert keep.commit(keep.table(Entry).append([Entry(number=9, uid="9")])).added == 1
        keep.backend.compact()
        assert [*keep.backend.scrub()] == []


# -- a file system of fsspec -----------------------------------------------------------------------


class Faulty(MemoryFileSystem):
    """Fails at the n-th operation, in one of several ways."""

    protocol = "faulty"
    cachable = False
    store: dict[str, Any] = {}  # noqa: RUF012  # as the class above it has it
    pseudo_dirs = [""]  # noqa: RUF012
    done = 0
    at = 0
    how = ""

    @classmethod
    @contextmanager
    def armed(cls, at: int, how: str) -> Iterator[None]:
        cls.done, cls.at, cls.how = 0, at, how
        try:
            yield
        finally:
            cls.at = 0

    def _strikes(self) -> str:
        type(self).done += 1
        return self.how if type(self).done == self.at else ""

    def _passed(self, act: Callable[[], Any]) -> Any:
        how = self._strikes()
        if how == "EIO":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        done = act()
        if how == "lost":
            raise ConnectionResetError(errno.ECONNRESET, "the answer was lost")
        return done

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        how = self._strikes()
        if how == "EIO":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        short = how in ("short", "torn")
        super().pipe_file(path, value[: len(value) // 2] if short else value, mode, **more)
        if how == "torn":
            raise OSError(errno.EIO, "cut off half-way")
        if how == "lost":
            raise ConnectionResetError(errno.ECONNRESET, "the answer was lost")

    def cat_file(self, path: str, *given: Any, **more: Any) -> Any:
        return self._passed(lambda: super(Faulty, self).cat_file(path, *given, **more))

    def info(self, path: str, **more: Any) -> Any:
        return self._passed(lambda: super(Faulty, self).info(path, **more))

    def cp_file(self, *paths: str, **more: Any) -> None:
        self._passed(lambda: super(Faulty, self).cp_file(*paths, **more))

    def rm_file(self, path: str) -> None:
        self._passed(lambda: super(Faulty, self)._rm(path))

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT002
        self._passed(lambda: super(Faulty, self).makedirs(path, exist_ok=exist_ok))


fsspec.register_implementation("faulty", Faulty, clobber=True)


def place() -> str:
    """A fresh one; the others are forgotten, for what is there is searched through."""
    Faulty.store.clear()
    Faulty.pseudo_dirs[1:] = []
    return f"parquet+faulty://{uuid.uuid4().hex}/k?single_writer=yes&patience=0.2"


def operations() -> int:
    with Faulty.armed(0, ""):
        url = place()
        assert worked(url)[2] == 0
        return Faulty.done


WAYS = [(how, whole) for how in ("EIO", "lost") for whole in (False, True)]
WAYS += [("short", False), ("torn", False)]


@pytest.mark.requirement("Z-18", "Z-6")
@pytest.mark.parametrize(("how", "whole"), WAYS)
def test_a_file_system_that_fails_once(
    how: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GUARANTEES case 2: a typed error or none, nothing half visible, nothing lost."""
    fail_at_every(4, how, whole, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize(("how", "whole"), WAYS)
def test_a_file_system_that_fails_once_at_any_operation(
    how: str, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at_every(1, how, whole, monkeypatch)


def fail_at_every(nth: int, how: str, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_single, "WHOLE", {"faulty"} if whole else set())
    errors = 0
    for at in range(1 + WAYS.index((how, whole)) % nth, operations() + 1, nth):
        url = place()
        with Faulty.armed(at, how):
            acknowledged, unknown, failed = worked(url)
        errors += failed
        examine(url, acknowledged, unknown)
    assert errors


# -- the local file system -------------------------------------------------------------------------

CALLS = ("write", "fsync", "link", "open", "pread", "replace", "unlink", "mkdir", "scandir")


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder, in memory where that is possible: thousands of fsyncs would wait for a real one."""
    with _folders.scratch("disk") as folder:
        yield folder


class System:
    """The calls of :mod:`os`, of which the n-th on files below *folder* fails."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, call: str, how: str) -> None:
        self.done, self.at, self.how = 0, 0, how
        self._folder = f"{folder}"
        self._real = getattr(os, call)
        patch.setattr(os, call, self._called)

    def _called(self, first: Any, *given: Any, **more: Any) -> Any:
        where = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else first
        if not f"{where}".startswith(self._folder):
            return self._real(first, *given, **more)
        self.done += 1
        if self.done != self.at:
            return self._real(first, *given, **more)
        if self.how == "short":
            return self._real(first, given[0][: max(len(given[0]) // 2, 1)])
        code = getattr(errno, self.how)
        raise OSError(code, os.strerror(code))


@pytest.mark.requirement("Z-18", "Z-6")
@pytest.mark.parametrize(
    ("call", "how"),
    [
        *((call, "EIO") for call in CALLS),
        ("write", "ENOSPC"),
        ("write", "short"),
    ],
)
def test_a_disk_that_fails_once_at_any_call(disk: Path, call: str, how: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        system = System(patch, disk, call, how)
        assert worked(f"parquet:///{disk}/count")[2] == 0
        calls = system.done
    assert calls
    errors = 0
    for at in range(1, calls + 1, 1 + calls // 40):
        url = f"parquet:///{disk}/{at}?patience=1"
        with pytest.MonkeyPatch.context() as patch:
            system = System(patch, disk, call, how)
            system.at = at
            acknowledged, unknown, failed = worked(url)
        errors += failed
        examine(url, acknowledged, unknown)
    assert bool(errors) == (how != "short")
