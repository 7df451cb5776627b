"""Work that other threads do a little ahead of whoever needs it, or beside something else.

pyarrow and hashlib let go of the interpreter while they work, so a second core does half of it.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")
THREADS: Final = min(4, os.cpu_count() or 1)  # what each has in hand is memory of the host's
_NAME: Final = "quantkeep-ahead"


def ahead(work: Callable[[T], R], items: Iterable[T]) -> Generator[R]:
    """What *work* gives for each of *items*, in order; as far ahead as there are processors.

    Whoever stops reading waits for what is being worked on. An error of *work* is raised in its
    turn, and nothing behind it is begun any more. A single item is worked on in the caller's own
    thread.
    """
    coming = iter(items)
    first = [*islice(coming, 2)]
    if len(first) < 2:
        yield from map(work, first)
        return
    waiting = deque[Future[R]]()
    with threads() as pool:
        try:
            for item in chain(first, coming):
                waiting.append(begun(pool, work, item))
                if len(waiting) > THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def threads() -> ThreadPoolExecutor:
    """A pool of them; none begins before there is work."""
    return ThreadPoolExecutor(THREADS, _NAME)


def begun(pool: ThreadPoolExecutor, work: Callable[[T], R], item: T) -> Future[R]:
    """*work* of *item*, begun in *pool*; done here and now where no thread can be had."""
    try:
        return pool.submit(work, item)
    except RuntimeError:  # there are none any more, as while the interpreter ends
        return _done(work, item)


def _done(work: Callable[[T], R], item: T) -> Future[R]:
    done = Future[R]()
    try:
        done.set_result(work(item))
    except BaseException as error:  # noqa: BLE001  # as a thread has it: whoever asks is told
        done.set_exception(error)
    return done
