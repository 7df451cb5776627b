"""Parts of a program that bring their own state, by two methods (D70-16)."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from quantkeep.errors import InvalidValue
from quantkeep.trading import Mode


@runtime_checkable
class Component(Protocol):
    """What a risk guard, a portfolio or a strategy offers to be kept with the session."""

    def get_state(self) -> Any:
        """Its state; a dict as a rule, of anything a document may hold."""

    def restore_state(self, state: Any) -> None:
        """Take back what :meth:`get_state` gave; *state* is the component's own."""


class Tape(Protocol):
    """What sessions ask of the tape: how far it is, and what their state lacks of it (Z-8)."""

    def watermarks(self, *, mode: Mode, account: str = "default") -> Mapping[str, int]:
        """How far each stream of an account and mode has come."""

    def events_after(self, watermarks: Mapping[str, int]) -> Iterable[Any]:
        """The events of those streams after the given revisions, in order."""

    def watermark_of(self, event: Any) -> tuple[str, int]:
        """The stream that *event* is of, and its revision there."""


def checked(name: str, component: Any) -> Component:
    """*component*, if it is one; raises :class:`quantkeep.InvalidValue`."""
    if isinstance(component, Component):
        return component
    raise InvalidValue(
        f"an object of type {type(component).__qualname__} brings no state",
        field=name,
        value=component,
        expected="methods get_state() and restore_state(state); plain values are assigned: "
        f"session[{name!r}] = ...",
    )
