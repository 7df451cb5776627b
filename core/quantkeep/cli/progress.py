"""Progress of long work, on a terminal's stderr alone."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_EVERY = 1_000  # rows between two updates: the bar must cost nothing


def counted(rows: Iterable[T], what: str, total: int | None) -> Iterable[T]:
    """*rows*, a progress bar called *what* moving while they are read."""
    return _shown(rows, what, total) if sys.stderr.isatty() else rows


def _shown(rows: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        for place, row in enumerate(rows):
            yield row
            if place % _EVERY == 0:
                progress.update(task, completed=place)
