"""Commands to the server and their answers, and what is known when an answer does not come.

The driver's connections are used without its client and pools: those try again on their own, and a
write that was tried again may have been made twice.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis.connection import Connection, SSLConnection
from redis.connection import UnixDomainSocketConnection as UnixConnection
from redis.crc import key_slot
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from quantkeep.errors import Busy, Closed, QuantkeepError, Unavailable, scrubbed
from quantkeep_backends.redis.errors import translated
from quantkeep_backends.redis.packets import Command, packed
from quantkeep_backends.redis.settings import Settings

Address = tuple[str, int]
Wire = Any  # the driver's connections, whose methods have no types

# The server's own word, though the driver counts it among lost connections.
_ANSWERS: Final = (ResponseError, BusyLoadingError, AuthenticationError, AuthorizationError)
_SETTLING: Final = 0.05  # seconds between looks at a cluster whose slots are on the move


class Lost(Exception):
    """The connection broke after the command was sent: it may have been executed."""


class Link:
    """Connections to one server, shared between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._address: Address = (settings.host, settings.port)
        self._idle: list[tuple[Address, Wire]] = []
        self._room = threading.BoundedSemaphore(settings.connections)
        self._closed = False
        self.asked = 0  # how often, so that it shows whether something was

    # -- commands ----------------------------------------------------------------------------------

    def ask(self, *command: Any) -> Any:
        """The answer to a command that changes nothing, which is asked again if it is lost."""
        try:
            return self.tell(command)[0]
        except Lost:
            return self.ask_once(*command)

    def ask_once(self, *command: Any) -> Any:
        """The answer to *command*; raises ``Unavailable`` where there is none."""
        try:
            return self.tell(command)[0]
        except Lost as error:
            raise self.meaning(error.__cause__ or error) from scrubbed(error)

    def tell(self, *commands: Command) -> list[Any]:
        """The answers to *commands*, sent together on one connection.

        Raises:
            Lost: they may have been executed, all or some.
            QuantkeepError: nothing was sent, or the server refused the first of them.
        """
        return self._judged(self._exchange(commands))

    def _judged(self, answers: list[Any]) -> list[Any]:
        error = answers[0]
        if isinstance(error, RedisError):
            if isinstance(error, NoScriptError):
                raise error
            raise self.meaning(error) from scrubbed(error, *self.settings.secrets)
        return answers

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        with self.lent() as wire:
            wire.send_packed_command([*map(packed, commands)], check_health=False)
            answers = [answer(wire) for _ in commands]
            if isinstance(answers[0], BusyLoadingError | AuthenticationError):
                wire.disconnect()
            return answers

    @contextmanager
    def lent(self) -> Iterator[Wire]:
        """A connection of one's own; what goes wrong on it ends it, and is ``Lost``."""
        with self._turn():
            self.asked += 1
            address, wire = self._connected()
            try:
                yield wire
            except (RedisError, OSError) as error:
                wire.disconnect()
                raise Lost(str(error)) from error
            except BaseException:
                wire.disconnect()  # an answer that nobody read must not be the next one's
                raise
            self._idle.append((address, wire))

    def meaning(self, error: BaseException) -> QuantkeepError:
        """The typed error for what the driver said."""
        return translated(error, self.settings.where)

    # -- connections -------------------------------------------------------------------------------

    def _turn(self) -> "_Turn":
        return _Turn(self._room, self.settings)

    def _connected(self) -> tuple[Address, Wire]:
        if self._closed:
            raise Closed("this keep was closed; open it again")
        while self._idle:
            address, wire = self._idle.pop()
            if address == self._address and _is_quiet(wire):
                break
            wire.disconnect()
        else:
            address, wire = self._address, self._made(self._address)
        try:
            wire.connect()
        except (RedisError, OSError) as error:
            wire.disconnect()
            raise self.meaning(error) from scrubbed(error, *self.settings.secrets)
        return address, wire

    def _made(self, address: Address) -> Wire:
        settings = self.settings
        how = settings.connecting()
        if settings.socket:
            kind: Any = UnixConnection  # abstract to mypy, and not to Python
            return kind(path=settings.socket, **how)
        host, port = address
        kind = SSLConnection if settings.tls else Connection
        return kind(host=host, port=port, **how)

    def close(self) -> None:
        """Let go of the server; idempotent."""
        self._closed = True
        while self._idle:
            self._idle.pop()[1].disconnect()


class ClusterLink(Link):
    """The node that holds the keep's one slot, wherever it moves to."""

    def __init__(self, settings: Settings, key: bytes) -> None:
        super().__init__(settings)
        self._slot = key_slot(key)
        self._nodes: set[Address] = {self._address}
        self._look_around()

    def tell(self, *commands: Command) -> list[Any]:
        deadline = time.monotonic() + self.settings.timeout
        while time.monotonic() < deadline:
            try:
                answers = self._exchange(commands)
            except Unavailable:
                if not self._look_around():
                    raise
                continue
            moved = answers[0]
            if isinstance(moved, MovedError):  # it was not executed there
                self._nodes.add((moved.host, moved.port))
                self._address = (moved.host, moved.port)
            elif not isinstance(moved, TryAgainError | ClusterDownError):
                return self._judged(answers)
            else:
                time.sleep(_SETTLING)
                self._look_around()
        raise Unavailable(f"{self.settings.where}: the cluster does not settle: try again")

    def _look_around(self) -> bool:
        """Ask every node for the slot's; whether the address is another now."""
        before = self._address
        for node in [*self._nodes]:
            slots = self._slots(node)
            self._nodes |= {_address(slot[2], node) for slot in slots}
            found = [s for s in slots if s[0] <= self._slot <= s[1]]
            if found:
                self._nodes |= {_address(each, node) for each in found[0][2:]}
                self._address = _address(found[0][2], node)
            if self._address != before:
                return True
        return False

    def _slots(self, node: Address) -> list[Any]:
        wire = self._made(node)
        try:
            wire.connect()
            wire.send_command("CLUSTER", "SLOTS", check_health=False)
            slots: list[Any] = wire.read_response()
        except (RedisError, OSError):
            return []
        finally:
            wire.disconnect()
        return slots


class _Turn:
    """A connection's worth of room, waited for within the timeout."""

    def __init__(self, room: threading.BoundedSemaphore, settings: Settings) -> None:
        self._room, self._settings = room, settings

    def __enter__(self) -> None:
        if not self._room.acquire(timeout=self._settings.timeout):
            raise Busy(
                f"{self._settings.where}: all {self._settings.connections} connections were in use "
                f"for {self._settings.timeout:g} s: try again, or raise ?connections="
            )

    def __exit__(self, *exc: object) -> None:
        self._room.release()


def _is_quiet(wire: Wire) -> bool:
    """Whether an idle connection is still one: a server that was stopped has closed it."""
    try:
        return not wire.can_read(0)
    except (RedisError, OSError):
        return False


def answer(wire: Wire) -> Any:
    """The next answer, which may be an error that the server tells."""
    try:
        return wire.read_response()
    except _ANSWERS as error:
        return error


def _address(said: Sequence[Any], known: Address) -> Address:
    """A node's address as it tells it; without a host it is the one that was asked."""
    host = said[0].decode() if isinstance(said[0], bytes) else said[0]
    return host or known[0], int(said[1])
