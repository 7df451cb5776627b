"""Work that other threads do a little ahead of whoever needs it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_THREADS: Final = 2
_AHEAD: Final = 4  # items in work, or done and not taken yet


@contextmanager
def ahead(work: Callable[[T], R], items: Sequence[T]) -> Iterator[Iterator[R]]:
    """*work* done of each of *items*, in order; its errors come when their item's turn does.

    Its threads are gone with the ``with`` block; for a single item there are none.
    """
    if len(items) < 2:
        yield map(work, items)
        return
    with ThreadPoolExecutor(_THREADS, "quantkeep-ahead") as pool:
        try:
            yield _results(pool, work, items)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _results(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    waiting = deque[Future[R]]()
    for item in items:
        waiting.append(_begun(pool, work, item))
        if len(waiting) == _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _begun(pool: ThreadPoolExecutor, work: Callable[[T], R], item: T) -> Future[R]:
    try:
        return pool.submit(work, item)
    except RuntimeError:  # no more threads, as while the interpreter ends: done here and now
        done = Future[R]()
        done.set_result(work(item))
        return done
