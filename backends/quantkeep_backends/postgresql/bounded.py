"""Connections on which nobody waits for ever for a server that has stopped answering."""

import time
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

RV = TypeVar("RV")

_LOOKS: Final = 4  # at the clock, within the time that is allowed
_OFTEN: Final = 0.1  # seconds between two looks, at most


class Stalled(psycopg.OperationalError):
    """The server was silent for too long, and the connection was given up."""


class Patience:
    """How long one connection waits for its server, which it closes when that makes no progress.

    Attributes:
        seconds: of silence, after which it is :class:`Stalled`. A long statement may be as silent
            as a server that is frozen; a long answer, or a copy, is not.
    """

    def __init__(self, connection: psycopg.Connection[Any], seconds: float) -> None:
        self.seconds = seconds
        self._connection = connection
        self._usual = connection.wait
        self._stalled: Stalled | None = None
        # Cursors and pipelines too wait by way of their connection; it may be somebody else's
        vars(connection)["wait"] = self._wait

    def end(self) -> None:
        """Let the connection wait again as it did before."""
        vars(self._connection).pop("wait", None)

    def _wait(self, gen: PQGen[RV], interval: float | None = _OFTEN, **more: Any) -> RV:
        """Wait as psycopg does, but not for longer than there is patience."""
        if self._stalled is not None:
            raise self._stalled  # by whoever tidies up
        bounded = _bounded(gen, self.seconds)
        try:
            return self._usual(bounded, min(interval or _OFTEN, self.seconds / _LOOKS), **more)
        except Stalled as error:
            self._stalled = error
            self._connection.close()
            raise


def _bounded(gen: PQGen[RV], patience: float) -> PQGen[RV]:
    """*gen*, ended if its socket is not ready for *patience* seconds on end."""
    try:
        wanted = next(gen)
        while True:
            until = time.monotonic() + patience
            while not (ready := (yield wanted)):
                if time.monotonic() >= until:
                    raise Stalled(
                        f"the server did not answer for {patience:g} seconds: try again, or allow "
                        "it more (?timeout=120)"
                    )
            wanted = gen.send(ready)
    except StopIteration as end:
        found: RV = end.value
        return found
