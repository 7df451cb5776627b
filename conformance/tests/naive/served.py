"""``listed+redis://`` on a Redis: the journal as one list there. Small and sound; see ``serveds``.

It is the unbroken twin of the careless backends that are on a server. A commit is one script call,
which adds its line if nobody has added one since the list was last read.
"""

import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from naive.journal import HOSTS, JournalBackend
from quantkeep import Capability, Durability, documents, hookimpl
from quantkeep.backend import Backend, Health
from quantkeep.contract import require_level
from quantkeep.errors import (
    Busy,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Regression,
    Unavailable,
    scrubbed,
)
from quantkeep.hookspecs import BackendInfo
from quantkeep.url import Url
from quantkeep_backends.memory import MemoryBackend

ADD = """
if redis.call('LLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
return redis.call('RPUSH', KEYS[1], ARGV[2])
"""
CLAIMED = Capability.PERSISTENT | Capability.MULTI_PROCESS | Capability.SNAPSHOT_READS
PATIENCE = 10.0


class ListBackend(JournalBackend):
    """Each process reads what the others added before it does anything."""

    name = "listed"
    capabilities = CLAIMED
    script = ADD

    def __init__(self, url: Url) -> None:
        MemoryBackend.__init__(self)
        self._key = url.options.get("prefix", "keep")
        self._client = self.connected(url)
        self._read = 0  # lines that were understood
        self._last = b""
        self.durability = self.observed()
        self._catch_up()

    def connected(self, url: Url) -> redis.Redis:
        timeout = url.option("timeout", float, 5.0)
        return redis.Redis(
            host=url.parts.hostname, port=url.parts.port or 6379, socket_timeout=timeout,
            retry=Retry(NoBackoff(), 0), retry_on_error=[],
        )  # fmt: skip

    def observed(self) -> Durability:
        said = self.call("CONFIG", "GET", "*")
        facts = {name.decode(): value.decode() for name, value in said.items()}
        if facts["maxmemory"] != "0" and not facts["maxmemory-policy"].startswith("noev"):
            raise Invalid(f"maxmemory-policy {facts['maxmemory-policy']} may evict what is kept")
        if facts["appendonly"] == "no":
            return Durability.PROCESS
        return Durability.DISK if facts["appendfsync"] == "always" else Durability.SERVER

    # -- one call, and what became of it ---------------------------------------------------------

    def call(self, *words: Any) -> Any:
        """A call that changes nothing; tried again where the connection was lost."""
        for _ in range(2):
            try:
                return self._client.execute_command(*words)
            except redis.RedisError as error:
                failed = error
        raise Unavailable("the server does not answer") from scrubbed(failed)

    def added(self, line: bytes) -> bool:
        """Add *line*; false: somebody was sooner."""
        self.call("PING")
        try:
            return bool(self._client.execute_command("EVAL", *self.addition(line)))
        except redis.ConnectionError as error:
            raise OutcomeUnknown("the answer was lost") from scrubbed(error)
        except redis.RedisError as error:
            raise OutcomeUnknown("there was no answer in time") from scrubbed(error)

    def addition(self, line: bytes) -> tuple[Any, ...]:
        return self.script, 1, self._key, self._read, line

    # -- as a journal ----------------------------------------------------------------------------

    def commit(self, batch: Any) -> Any:
        return self._insisted(lambda: super(ListBackend, self).commit(batch))

    def ensure(self, collections: Any, description: str) -> None:
        self._insisted(lambda: super(ListBackend, self).ensure(collections, description))

    def _blob(self, entry: list[Any]) -> None:
        self._insisted(lambda: super(ListBackend, self)._blob(entry))

    def _insisted(self, act: Callable[[], Any]) -> Any:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                return act()
            except Overtaken:
                continue
        raise Busy("others were always sooner")

    def _write(self, entry: list[Any], undo: Callable[[], None]) -> None:
        line = self.line(entry)
        try:
            if not self.added(line):
                raise Overtaken
        except BaseException:
            undo()
            raise
        self._read += 1
        self._last = line

    @contextmanager
    def _alone(self) -> Any:
        yield

    def _catch_up(self) -> None:
        start = max(self._read - 1, 0)
        lines = self.call("LRANGE", self._key, start, -1)
        if self._read and lines[:1] != [self._last]:
            raise Regression("the list is not the one that was read before")
        for line in lines[self._read - start :]:
            self._replay(documents.decode(line[9:-1].decode(), HOSTS))
            self._read += 1
            self._last = line

    def _cut_torn_tail(self) -> None:
        pass

    def health(self) -> Health:
        self.call("PING")
        return Health(True, self.durability, {})

    def close(self) -> None:
        self._client.close()


class Overtaken(Exception):
    """Somebody else's line came first."""


class Listed:
    """A quantkeep plugin that serves ``listed+redis://`` with one class of backend."""

    scheme = "listed"

    def __init__(self, backend: Callable[[Url], Backend]) -> None:
        self.backend = backend

    @hookimpl(tryfirst=True)
    def quantkeep_open(self, url: Url, opening: Any) -> Backend | None:
        if url.scheme != self.scheme:
            return None
        backend = self.backend(url)
        if not opening.create and backend.description() is None:
            raise NotFound("there is no keep")
        require_level(backend.durability, opening.durability, url)
        return backend

    @hookimpl
    def quantkeep_backend(self) -> BackendInfo:
        options = {"timeout": "seconds to wait for an answer"}
        example, level = "listed+redis://localhost", Durability.DISK
        return BackendInfo(self.scheme, "A list on Redis", example, CLAIMED, level, options)

    @hookimpl(tryfirst=True)
    def quantkeep_scratch(self, url: Url, name: str) -> str | None:
        return f"{url.full}?prefix={name}" if url.scheme == self.scheme else None

    @hookimpl(tryfirst=True)
    def quantkeep_scratch_discard(self, url: Url) -> None:
        if url.scheme == self.scheme:
            key = url.options["prefix"]
            with redis.Redis(host=url.parts.hostname, port=url.parts.port) as client:
                client.delete(key)


SOUND = Listed(ListBackend)
