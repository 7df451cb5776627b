"""Bars for long work, on a terminal's stderr alone."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from quantkeep.progress import watched

if TYPE_CHECKING:
    from rich.progress import Progress

_EVERY: Final = 1_000  # of many items: a bar must cost nothing


@contextmanager
def bars() -> Iterator[None]:
    """Show how far everything is that is counted in the block."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as progress:

        def shown(items: Iterable[Any], what: str, total: int | None) -> Iterable[Any]:
            return _shown(progress, items, what, total)

        with watched(shown):
            yield


def _shown(
    progress: "Progress", items: Iterable[Any], what: str, total: int | None
) -> Iterator[Any]:
    task = progress.add_task(what, total=total)
    every = 1 if total is not None and total < _EVERY else _EVERY
    try:
        for place, item in enumerate(items):
            yield item
            if place % every == 0:
                progress.update(task, completed=place + 1)
    finally:
        progress.remove_task(task)
