"""What child processes do: each task opens a keep of its own, and says what happened."""

from collections.abc import Callable
from typing import Any, Final

from quantkeep_conformance.children.desk import Desk
from quantkeep_conformance.children.holding import hold_lease, watch
from quantkeep_conformance.children.publishing import publish, weigh
from quantkeep_conformance.children.racing import (
    append,
    compare_and_swap,
    increment,
    migrate,
    race,
)
from quantkeep_conformance.children.trading import tell, trade
from quantkeep_conformance.children.writing import write

_TASKS: Final[dict[str, Callable[[Desk], None]]] = {
    task.__name__: task
    for task in (
        append, compare_and_swap, hold_lease, increment, migrate, publish, race, tell, trade,
        watch, weigh, write,
    )
}  # fmt: skip


def do(told: dict[str, Any]) -> None:
    """Do the task that was told, in a process forked for it."""
    _TASKS[told["task"]](Desk(told))
