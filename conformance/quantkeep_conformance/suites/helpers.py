"""What the suites share: short ways to write, and ways to do things at once."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from quantkeep import PRESENT, Keep, Receipt, Record, Unsupported
from quantkeep.batch import Write
from quantkeep_conformance.exactness import assert_same
from quantkeep_conformance.processes import Child
from quantkeep_conformance.records import Charter, Entry, Order, Setting, Specimen

T = TypeVar("T")
R = TypeVar("R", bound=Record)


def log(keep: Keep, *entries: Entry) -> Receipt:
    """Append *entries* in one commit, each by itself."""
    table = keep.table(Entry)
    return keep.commit(*(table.append([entry]) for entry in entries))


def put(keep: Keep, *records: Record) -> Receipt:
    """Put *records* in one commit."""
    return keep.commit(*(keep.table(type(record)).put(record) for record in records))


def never(keep: Keep) -> list[Write]:
    """Writes that no backend may take, for several reasons at once; stores what they clash with."""
    put(keep, Charter(name="clash", text="this"))
    return [
        keep.table(Charter).put(Charter(name="clash", text="that")),
        keep.table(Order).put(Order(order="dangling", party="nobody")),
        keep.table(Setting).require("nobody", "nothing", expect=PRESENT),
    ]


def key_of(record: Record) -> list[Any]:
    """The key of a keyed *record*, as values."""
    return [getattr(record, name) for name in record.collection.key]


def known(keep: Keep, record: R) -> R | None:
    """What is stored under the key of *record*."""
    return keep.table(type(record)).get(*key_of(record))


def numbers(entries: Sequence[Entry] | Iterator[Entry]) -> list[int]:
    """The numbers of *entries*."""
    return [entry.number for entry in entries]


def comes_back(keep: Keep, column: str, values: Sequence[Any]) -> None:
    """Store each of *values* in *column* of a specimen, and see each of them again."""
    wanted = [Specimen(name=f"{n:04}", **{column: value}) for n, value in enumerate(values)]
    put(keep, *wanted)
    for specimen in wanted:
        assert_same(known(keep, specimen), specimen)
    for found, specimen in zip(keep.table(Specimen).scan(), wanted, strict=True):
        assert_same(found, specimen)


def at_once(count: int, act: Callable[[int], T]) -> list[T]:
    """The results of ``act(0) ... act(count - 1)``, each in a thread, begun at one moment."""
    barrier, results, errors = threading.Barrier(count), dict[int, T](), list[Exception]()

    def run(number: int) -> None:
        try:
            barrier.wait()
            results[number] = act(number)
        except Exception as error:  # noqa: BLE001  # whatever it was, the clause's own thread must see it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    with _quick_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for error in errors:
        raise error
    return [results[number] for number in range(count)]


def started(children: list[Child]) -> list[Child]:
    """*children*, all of them let go at once when each has its keep open."""
    for child in children:
        child.expect("ready")
    for child in children:
        child.tell("go")
    return children


def compacted(keep: Keep) -> None:
    """Compact *keep*, where there is something to compact."""
    with suppress(Unsupported):
        keep.backend.compact()


@contextmanager
def _quick_switches() -> Iterator[None]:
    """Let threads take turns every 10 microseconds, so that windows between two steps are met."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
