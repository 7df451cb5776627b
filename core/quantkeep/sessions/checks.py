"""Checks that a stored state must pass before a program resumes from it (D70-35).

    keep.sessions.resume("btc-arb", checks=checks.plausible(config))

A check is a function of :class:`Resuming` that says what is wrong, or ``None``. Compose your own
with those here; :func:`advisory` makes of any of them one that warns instead of refusing.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sized
from datetime import timedelta
from typing import Any, Final

import attrs

from quantkeep.errors import ResumeRefused
from quantkeep.sessions.reading import Origin
from quantkeep.sessions.records import SessionRecord

ONE_DAY: Final = timedelta(days=1)
_POSITIONS: Final = ("positions", "active_orders")
_PNL: Final = ("metrics", "total_pnl_usd")


class ResumeWarning(UserWarning):
    """A session was resumed although a check that only advises says something of its state."""


@attrs.frozen(kw_only=True)
class Resuming:
    """What a check looks at, and must not change.

    Attributes:
        record: the session as it was last saved.
        sections: the state that would be resumed from.
        age: how long ago that was saved, by the store's clock.
        origin: where it was taken from.
    """

    record: SessionRecord
    sections: Mapping[str, Any]
    age: timedelta
    origin: Origin

    def at(self, path: tuple[str, ...]) -> Any:
        """The value at *path*; ``None`` if there is none."""
        value: Any = self.sections
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
        return value


Check = Callable[[Resuming], str | None]


def same_config(config: Any) -> Check:
    """The session was started with the configuration that the program has now."""

    def check(resuming: Resuming) -> str | None:
        stored = resuming.record.config
        if stored == config:
            return None
        if isinstance(stored, Mapping) and isinstance(config, Mapping):
            differing = sorted(
                key for key in {*stored, *config} if stored.get(key) != config.get(key)
            )
            return f"the configuration differs in {', '.join(map(repr, differing))}"
        return "the configuration differs"

    return check


def younger_than(age: timedelta = ONE_DAY) -> Check:
    """The state was saved less than *age* ago."""

    def check(resuming: Resuming) -> str | None:
        if resuming.age < age:
            return None
        return f"the state was saved {resuming.age} ago, and {age} is allowed"

    return check


def positions_at_most(count: int, path: tuple[str, ...] = _POSITIONS) -> Check:
    """There are at most *count* open positions at *path*."""

    def check(resuming: Resuming) -> str | None:
        positions = resuming.at(path)
        if positions is None:
            return None
        where = ".".join(path)
        if not isinstance(positions, Sized):
            return f"{where} is no collection of positions, but {positions!r}"
        if len(positions) <= count:
            return None
        return f"{where} holds {len(positions)} positions, and {count} are plausible"

    return check


def pnl_between(low: float, high: float, path: tuple[str, ...] = _PNL) -> Check:
    """The profit at *path*, in its own currency, is a number from *low* to *high*."""

    def check(resuming: Resuming) -> str | None:
        pnl, where = resuming.at(path), ".".join(path)
        if pnl is None:
            return None
        try:
            plausible = math.isfinite(pnl) and low <= pnl <= high
        except (TypeError, ValueError, ArithmeticError):
            plausible = False
        return None if plausible else f"{where} is {pnl!r}, and {low} to {high} is plausible"

    return check


def plausible(
    config: Any = None,
    *,
    age: timedelta = ONE_DAY,
    positions: int = 1_000,
    pnl: tuple[float, float] = (-1_000_000.0, 1_000_000.0),
) -> list[Check]:
    """The usual checks together; without *config* the configuration is not compared."""
    usual = [younger_than(age), positions_at_most(positions), pnl_between(*pnl)]
    return usual if config is None else [same_config(config), *usual]


def advisory(check: Check) -> Check:
    """*check*, but what it finds is a :class:`ResumeWarning`, and the session is resumed."""

    def warn(resuming: Resuming) -> None:
        if problem := check(resuming):
            message = f"session {resuming.record.session_id!r}: {problem}"
            warnings.warn(message, ResumeWarning, stacklevel=5)

    return warn


def require(resuming: Resuming, checks: Iterable[Check]) -> None:
    """Hold the state against *checks*; raises :class:`quantkeep.errors.ResumeRefused`."""
    problems = tuple(problem for check in checks if (problem := check(resuming)))
    if not problems:
        return
    session_id = resuming.record.session_id
    raise ResumeRefused(
        f"session {session_id!r} is not fit to be resumed: {'; '.join(problems)}. Look at it with "
        f"keep.sessions.state({session_id!r}); a clean start, keep.sessions.start("
        f"{resuming.record.name!r}), leaves it as it is",
        session_id=session_id,
        problems=problems,
    )
