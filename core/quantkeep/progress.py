"""Progress of long work. Who does the work says how far it is; who started it may watch.

    with watched(bars):                # the command line; nobody else need care
        backend.compact()

    for name in counted(names, "folding", len(names)):     # a backend, in its own loop
        ...

Costs nothing where nobody watches. Of one thread, as what it calls is.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Watcher(Protocol):
    """Hands *items* on, one by one, and shows how many of *total* have gone by."""

    def __call__(self, items: Iterable[Any], what: str, total: int | None) -> Iterable[Any]: ...


_watcher: ContextVar[Watcher | None] = ContextVar("quantkeep.progress", default=None)


def counted(items: Iterable[T], what: str, total: int | None = None) -> Iterable[T]:
    """*items*, counted under the name *what* while they are worked on."""
    watcher = _watcher.get()
    return items if watcher is None else watcher(items, what, total)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Let *watcher* see what is counted in the block."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)
