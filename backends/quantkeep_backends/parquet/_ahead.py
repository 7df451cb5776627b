"""Working ahead in threads, in order and with little in hand.

pyarrow lets go of the interpreter while it encodes and decodes, so a second core does half of it.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

P = TypeVar("P")
R = TypeVar("R")
_THREADS: Final = 4  # at most: what each has in hand is memory of the host's


def ahead(work: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
    """What *work* gives for each of *parts*, in order; as far ahead as there are processors.

    Whoever stops reading waits for what is being worked on. An error of *work* is raised in its
    turn, and nothing behind it is begun any more.
    """
    threads = min(_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, "quantkeep-parquet") as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
