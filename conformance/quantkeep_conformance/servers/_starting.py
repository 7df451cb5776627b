"""Servers by name, as command lines give them."""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Final

from quantkeep_conformance.servers._postgresql import postgresql
from quantkeep_conformance.servers._process import Server, ServerUnavailable, Settings
from quantkeep_conformance.servers._redis import redis, valkey
from quantkeep_conformance.servers._s3 import s3

Starter = Callable[..., contextlib.AbstractContextManager[Server]]

STARTERS: Final[dict[str, Starter]] = {
    "postgresql": postgresql,
    "redis": redis,
    "valkey": valkey,
    "s3": s3,
}


@contextlib.contextmanager
def started(name: str, settings: Settings | None = None) -> Iterator[Server]:
    """The server called *name*, running; *settings* are added to its configuration.

    Raises:
        ServerUnavailable: there is none of this name, or it cannot be started.
    """
    start = starter(name)
    if settings and "settings" not in inspect.signature(start).parameters:
        raise ServerUnavailable(f"the server {name} takes no settings")
    with start(settings=settings) if settings else start() as server:
        yield server


def starter(name: str) -> Starter:
    """What starts the server called *name*, or ``module:attribute``."""
    module, colon, attribute = name.partition(":")
    if not colon:
        if name not in STARTERS:
            known = ", ".join(STARTERS)
            raise ServerUnavailable(f"no server {name!r}: expected {known} or module:attribute")
        return STARTERS[name]
    try:
        found: Starter = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ServerUnavailable(f"the server {name!r} cannot be loaded: {error}") from error
    return found


def as_settings(said: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` settings; raises :class:`ServerUnavailable` for what is none."""
    pairs = [text.partition("=") for text in said]
    wrong = [name for name, equals, _ in pairs if not equals]
    if wrong:
        raise ServerUnavailable(f"the setting {wrong[0]!r} is none: expected NAME=VALUE")
    return {name: value for name, _, value in pairs}
