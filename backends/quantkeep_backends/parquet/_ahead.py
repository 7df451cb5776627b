"""Working ahead in threads, in order and with little in hand.

pyarrow lets go of the interpreter while it encodes and decodes, so a second core does half of it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Final, TypeVar

P = TypeVar("P")
R = TypeVar("R")
THREADS: Final = min(4, os.cpu_count() or 1)  # what each has in hand is memory of the host's


def ahead(work: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
    """What *work* gives for each of *parts*, in order; as far ahead as there are processors.

    Whoever stops reading waits for what is being worked on. An error of *work* is raised in its
    turn, and nothing behind it is begun any more.
    """
    waiting: deque[Future[R]] = deque()
    coming = iter(parts)
    some = [*islice(coming, 2)]
    if len(some) < 2:  # not worth a thread
        yield from map(work, some)
        return
    with ThreadPoolExecutor(THREADS, "quantkeep-parquet") as pool:
        try:
            for part in chain(some, coming):
                waiting.append(pool.submit(work, part))
                if len(waiting) > THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
