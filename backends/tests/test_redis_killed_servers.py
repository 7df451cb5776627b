"""The server is killed at every exchange of a large append, which is there whole or not at all."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import redis

import quantkeep
from quantkeep import Keep, Where
from quantkeep.errors import OutcomeUnknown, Unavailable
from quantkeep_backends.redis import pipe, staging, steps
from quantkeep_backends.redis.link import Link
from quantkeep_conformance import servers
from quantkeep_conformance.records import KIT_RECORDS, Entry

STAGE, COMMIT, AFTER = "redis.stage.send", "redis.commit.send", "redis.commit.answered"
ROWS = range(100)


@pytest.fixture
def small(hundred_are_many: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred rows are many: they go in four chunks and four lists of identities, one by one."""
    monkeypatch.setattr(pipe, "_TURN", 1)
    monkeypatch.setattr(staging, "_INLINE", 0)


@attrs.frozen
class Death:
    """When the server dies, and how.

    Attributes:
        at: the exchange of the append, counted from 1.
        how: before the command is sent; after it was executed, before its answer is read; or, as
            that, with the half of what it wrote.
        back: it is started again at once.
    """

    at: int
    how: str
    back: bool = False


class Dying:
    """A connection whose server dies while an exchange is under way."""

    def __init__(self, wire: Any, how: str, kill: Callable[[], None]) -> None:
        self._wire, self._unsent, self._kill = wire, how == "unsent", kill
        self.disconnect = wire.disconnect

    def send_packed_command(self, *commands: Any, **how: Any) -> None:
        if self._unsent:
            self._kill()
        self._wire.send_packed_command(*commands, **how)

    def read_response(self) -> Any:
        if self._unsent:
            return self._wire.read_response()
        assert self._wire.can_read(60)
        self._kill()
        raise redis.ConnectionError("the answer was lost")


class Exchanges:
    """What a handle exchanges with its server, each said by the step before it; one is the last."""

    def __init__(self, server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self._server, self._death, self._steps = server, Death(0, ""), [""]
        connected = Link._connected
        monkeypatch.setattr(steps, "passing", self._steps.append)
        monkeypatch.setattr(Link, "_connected", lambda link: self._next(link, *connected(link)))

    def begin(self, death: Death) -> None:
        """Count anew, up to where the server dies."""
        self.said, self._death = [], death

    def _next(self, link: Link, address: Any, wire: Any) -> Any:
        self.said.append(self._steps[-1])
        if len(self.said) != self._death.at:
            return address, wire
        size = self._log.stat().st_size
        return address, Dying(wire, self._death.how, lambda: self._kill(link, size))

    def _kill(self, link: Link, size: int) -> None:
        assert self._server.process is not None
        self._server.process.crash()
        if self._death.how == "torn":
            os.truncate(self._log, (size + self._log.stat().st_size) // 2)
        if self._death.back:
            self._server.process.start()
        else:  # nobody will answer, so that there is nothing to wait for
            link.settings = attrs.evolve(link.settings, timeout=0.05)

    @property
    def _log(self) -> Path:
        """The file to which the server appends what it has done."""
        assert self._server.process is not None
        (log,) = self._server.process.log.parent.rglob("*.aof")
        return log


@contextlib.contextmanager
def opened(server: servers.Server) -> Iterator[Keep]:
    with quantkeep.open({"tape": server.url}, records=KIT_RECORDS) as keep:
        yield keep


def append(keep: Keep, account: str) -> int:
    entries = [Entry(account=account, number=n, uid=f"{account} {n}") for n in ROWS]
    return keep.commit(keep.table(Entry).append(entries)).added


def stored(keep: Keep, account: str) -> list[int]:
    return [entry.number for entry in keep.table(Entry).list(Where("account", "==", account))]


@pytest.mark.requirement("Z-9", "Z-18")
@pytest.mark.parametrize("kind", ["redis", "valkey"])
@pytest.mark.parametrize("how", ["unsent", "unanswered", "torn"])
def test_a_killed_server_has_all_or_nothing_of_a_large_append(kind, how, small, monkeypatch):
    """Killed with each piece that is sent ahead, with the commit, and with what follows it."""
    with servers.redis(kind, {}, port=servers.free_port()) as server:
        exchanges = Exchanges(server, monkeypatch)
        with opened(server) as keep:
            append(keep, "all scripts are known now")
            exchanges.begin(Death(0, ""))
            append(keep, "whole")
        plan = [*enumerate(exchanges.said, 1)]
        assert [said for _, said in plan] == [STAGE] * 9 + [COMMIT, AFTER]
        for at, said in plan if how != "torn" else plan[-2:]:
            killed(server, exchanges, said, Death(at, how))
            if said == COMMIT:
                killed(server, exchanges, said, Death(at, how, back=True))


def killed(server: servers.Server, exchanges: Exchanges, said: str, death: Death) -> None:
    """Append while the server dies; then again, and all is there once."""
    done = said == AFTER or (said == COMMIT and (death.back or death.how == "unanswered"))
    account, made = f"{death}", 0
    with opened(server) as keep:
        link = keep.backend.usable()._link  # type: ignore[attr-defined]
        patient = link.settings
        append(keep, f"before {account}")
        exchanges.begin(death)
        with contextlib.suppress(Unavailable, OutcomeUnknown):
            made = append(keep, account)
        assert exchanges.said[death.at - 1] == said
        assert made == (100 if said == AFTER or death.back else 0)
        assert server.process is not None
        server.process.revive()
        link.settings = patient
        assert stored(keep, account) == ([*ROWS] if done else [])
        assert append(keep, account) == (0 if done else 100)
        assert stored(keep, account) == [*ROWS]
        assert keep.backend.check() == []
