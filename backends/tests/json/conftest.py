"""A JSON keep with a log and a keyed collection, and processes that work on it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import attrs
import pytest

from quantkeep import Record, failpoints, record, schema
from quantkeep.batch import Append, Batch, Put, Receipt
from quantkeep.collection import Collection, StoredRow
from quantkeep.errors import Corrupt
from quantkeep.hookspecs import Opening
from quantkeep.hosts import Hosts
from quantkeep.query import Query
from quantkeep_backends.json import JsonBackend

WORKER = Path(__file__).with_name("worker.py")


@record("entries", log=True, stream=("mode",), identity=("uid",))
class Entry(Record):
    mode: Literal["paper", "live"] = "paper"
    uid: str | None = None
    number: int
    note: str | None = None


@record("settings", key=("name",))
class Setting(Record):
    name: str
    value: str | None = None


@record("others", key=("name",))
class Other(Record):
    name: str


ENTRIES, SETTINGS, OTHERS = Entry.collection, Setting.collection, Other.collection
HOSTS = Hosts(())


@attrs.frozen
class Keep:
    """The folder of a keep, and handles on it that are closed when the test ends."""

    path: Path
    handles: list[JsonBackend] = attrs.field(factory=list)

    def open(
        self, *collections: Collection, read_only: bool = False, patience: float = 10.0
    ) -> JsonBackend:
        """Another handle, with room made for *collections*."""
        handle = JsonBackend(self.path, Opening(read_only=read_only), patience)
        self.handles.append(handle)
        wanted = collections or (ENTRIES, SETTINGS)
        if not read_only:
            handle.ensure(wanted, schema.describe(wanted))
        return handle

    def files(self, pattern: str = "**/*") -> list[Path]:
        """Files that hold something."""
        found = (p for p in sorted(self.path.glob(pattern)) if p.is_file())
        return [p for p in found if p.stat().st_size]

    def forget(self) -> None:
        """As if the process had died before it acknowledged what is in the journal."""
        (self.path / "acknowledged").unlink(missing_ok=True)

    @property
    def journal(self) -> Path:
        """The journal that is written to."""
        return max(self.path.glob("journal-*.jsonl"))

    def records(self, name: str) -> Path:
        """The newest file of a collection's records."""
        return max(self.path.glob(f"records-*/{name}.jsonl"))


def append(handle: JsonBackend, *numbers: int, op_id: str | None = None) -> Receipt:
    rows = [ENTRIES.seal(Entry(uid=f"{n}", number=n, note=f"note {n} é😀"), HOSTS) for n in numbers]
    return handle.commit(Batch((Append(ENTRIES, rows),), op_id))


def put(handle: JsonBackend, name: str, value: str | None) -> Receipt:
    return handle.commit(
        Batch((Put(SETTINGS, SETTINGS.seal(Setting(name=name, value=value), HOSTS)),))
    )


def rows(handle: JsonBackend, collection: Collection) -> list[StoredRow]:
    """All rows, in order, each held against its digest."""
    found = [*handle.scan(collection, Query().bound(collection))]
    for row in found:
        collection.verify(row)
    return found


def numbers(handle: JsonBackend) -> list[int]:
    """The numbers in the log, whose revisions have no gaps."""
    found = rows(handle, ENTRIES)
    assert [row.revision for row in found] == [*range(1, len(found) + 1)]
    return [row.values[ENTRIES.places["number"]] for row in found]  # type: ignore[misc]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    keep = Keep(tmp_path / "keep")
    yield keep
    for handle in keep.handles:
        handle.close()


@pytest.fixture
def does() -> SimpleNamespace:
    """What tests do with a handle."""
    return SimpleNamespace(
        append=append, put=put, rows=rows, numbers=numbers, entries=ENTRIES, settings=SETTINGS,
        other=OTHERS, described=schema.describe([OTHERS]),
    )  # fmt: skip


@pytest.fixture
def filled(keep: Keep) -> Keep:
    """Records of an older generation, and a journal of two operations and a change behind them."""
    with_records = keep.open()
    append(with_records, 0, 1, 2, op_id="first")
    put(with_records, "a", "1")
    with_records.compact()
    append(with_records, 3, op_id="second")
    put(with_records, "a", "2")
    append(with_records, 4)
    with_records.close()
    return keep


@pytest.fixture
def lines(filled: Keep) -> list[bytes]:
    """Those of its journal."""
    return filled.journal.read_bytes().splitlines(keepends=True)


QUESTIONS: dict[str, Callable[[JsonBackend], Any]] = {
    "entries": numbers,
    "settings": lambda handle: rows(handle, SETTINGS),
    "first": lambda handle: handle.outcome("first"),
    "second": lambda handle: handle.outcome("second"),
    "never": lambda handle: handle.outcome("never"),
}


@attrs.frozen
class Truth:
    """All that a keep answered while it was whole."""

    keep: Keep
    answers: dict[str, Any]

    def refused(self, handle: JsonBackend) -> dict[str, Corrupt]:
        """What is not answered, and why not; what is answered must be as it was."""
        refused = {}
        for name, ask in QUESTIONS.items():
            try:
                assert ask(handle) == self.answers[name], f"a wrong answer: {name}"
            except Corrupt as error:
                refused[name] = error
        assert not refused or not handle.health().ok
        assert handle.check() == [*handle.health().warnings]
        return refused

    def lost(self, *, read_only: bool = True) -> set[str]:
        """The names of what is refused by a keep that is opened now, maybe all of it."""
        try:
            handle = self.keep.open(read_only=read_only)
        except Corrupt:
            return {*QUESTIONS}
        try:
            return {*self.refused(handle)}
        finally:
            handle.close()


@pytest.fixture
def truth(filled: Keep) -> Truth:
    """What *filled* answers."""
    handle = filled.open()
    answers = {name: ask(handle) for name, ask in QUESTIONS.items()}
    handle.close()
    return Truth(filled, answers)


class Worker:
    """A process that forks a child for each piece of work, which may be made to die of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(
        self, path: Path, work: str, *, failpoints: str = "", trace: Path | None = None
    ) -> None:
        """Start a child; how it ends is to be asked for with :meth:`end`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\t{work}\t{failpoints}\t{trace or ''}\n")
        self._process.stdin.flush()

    def end(self) -> str:
        """``done``, the name of an error, or ``killed``."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def run(self, path: Path, work: str, *, failpoints: str = "", trace: Path | None = None) -> str:
        """Let a child do *work* on the keep at *path*."""
        self.begin(path, work, failpoints=failpoints, trace=trace)
        return self.end()

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture
def disarmed():
    """Lets a test arm failpoints in its own process."""
    yield failpoints.arm
    failpoints.arm("")
