"""The server as it is set up: its version, whether it evicts, what survives its end (Z-16)."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from quantkeep.backend import Durability
from quantkeep.errors import PermissionDenied, QuantkeepError, Unavailable, Unsupported
from quantkeep_backends.redis.link import Link
from quantkeep_backends.redis.settings import Settings

_OLDEST: Final = (6, 2)
_UNREADABLE: Final = "unknown"


@attrs.frozen
class Server:
    """What INFO and CONFIG say, observed once.

    Attributes:
        facts: what INFO says, by name.
        fsync: ``appendfsync``; ``unknown`` where CONFIG may not be read.
    """

    settings: Settings
    facts: Mapping[str, str]
    fsync: str

    @classmethod
    def observed(cls, link: Link) -> "Server":
        """Look at the server at the other end of *link*."""
        text = link.ask("INFO")
        pairs = (line.partition(":") for line in text.decode(errors="replace").splitlines())
        facts = {name: value for name, colon, value in pairs if colon}
        return cls(link.settings, facts, _fsync(link))

    def check(self, *, writing: bool) -> None:
        """Refuse a server that could not keep what is written to it.

        Raises:
            Unsupported: it is too old, or may evict what is stored.
            Unavailable: it is a replica, which takes no writes.
        """
        where = self.settings.where
        if self.version < _OLDEST:
            raise Unsupported(
                f"{where} is version {self.facts.get('redis_version')}: Redis 6.2 or newer, or "
                "Valkey, is needed"
            )
        if self.evicts:
            raise Unsupported(
                f"{where} may evict what is stored (maxmemory-policy is {self.policy}): set "
                "maxmemory-policy noeviction there; a full server then refuses writes, and keeps "
                "what it has"
            )
        if writing and self.facts.get("role") == "slave":
            raise Unavailable(
                f"{where} is a replica, and takes no writes: name its primary "
                f"({self.facts.get('master_host')}:{self.facts.get('master_port')}), or open with "
                "read_only=True"
            )

    # -- what it is --------------------------------------------------------------------------------

    @property
    def version(self) -> tuple[int, ...]:
        """Of Redis, or of the Redis that a Valkey is like."""
        said = self.facts.get("redis_version", "0").split(".")
        return tuple(int(part) for part in said if part.isdecimal())

    @property
    def policy(self) -> str:
        """What it does when it is full."""
        return self.facts.get("maxmemory_policy", "noeviction")

    @property
    def evicts(self) -> bool:
        """Whether it may drop keys of a keep.

        ``volatile-…`` drops keys with a time to live alone: of ours, what a commit that is under
        way has sent ahead; it is then sent again.
        """
        return self.policy.startswith("allkeys")

    @property
    def replicas(self) -> int:
        """How many are connected."""
        return int(self.facts.get("connected_slaves", 0))

    @property
    def run_id(self) -> str:
        """Of this run of the server."""
        return self.facts.get("run_id", "")

    # -- what survives -----------------------------------------------------------------------------

    @property
    def durability(self) -> Durability:
        """What survives once a commit has returned."""
        own = self._own
        if self.settings.wait and self.replicas >= self.settings.wait:
            return Durability.REPLICATED
        return own

    @property
    def _own(self) -> Durability:
        if self.facts.get("aof_enabled") != "1":
            return Durability.PROCESS
        if self.fsync == "always":
            return Durability.DISK
        if self.fsync == _UNREADABLE and self.settings.claimed is not None:
            return min(self.settings.claimed, Durability.DISK)
        return Durability.SERVER

    def warnings(self) -> Iterator[str]:
        """What its operator should know."""
        if self.settings.wait > self.replicas:
            yield (
                f"wait={self.settings.wait} replicas, but {self.replicas} are connected: commits "
                "will be made here and reported as less durable than asked for"
            )
        if self.facts.get("aof_enabled") != "1":
            yield (
                "there is no append-only file: a crash of the server loses what was committed "
                "since the last snapshot; set appendonly yes"
            )
        elif self.fsync == _UNREADABLE:
            yield from self._unreadable()
        elif self.fsync != "always":
            yield (
                f"a power cut can lose the last commits (appendfsync is {self.fsync}): set "
                "appendfsync always"
            )
        if self.facts.get("aof_last_write_status", "ok") != "ok":
            yield "the server could not write its append-only file: see its log"

    def _unreadable(self) -> Iterator[str]:
        if self.settings.claimed is None:
            yield (
                "the server does not let its CONFIG be read, so no more than durability server is "
                "claimed: say ?durability=disk if appendfsync is always"
            )
        else:
            yield "durability is what the URL says: the server does not let its CONFIG be read"

    def shown(self) -> dict[str, Any]:
        """Facts for ``quantkeep doctor``."""
        kind = "valkey_version" if "valkey_version" in self.facts else "redis_version"
        return {
            "server": self.settings.where,
            kind: self.facts.get(kind),
            "role": self.facts.get("role"),
            "append-only file": self.facts.get("aof_enabled") == "1",
            "appendfsync": self.fsync,
            "maxmemory": int(self.facts.get("maxmemory", 0)),
            "maxmemory-policy": self.policy,
            "memory used, bytes": int(self.facts.get("used_memory", 0)),
            "replicas": self.replicas,
            "cluster": self.facts.get("cluster_enabled") == "1",
        }


def _fsync(link: Link) -> str:
    try:
        found = link.ask("CONFIG", "GET", "appendfsync")
    except PermissionDenied:
        return _UNREADABLE
    except QuantkeepError as error:
        if "unknown command" in str(error).lower():  # renamed, as hosts of Redis do
            return _UNREADABLE
        raise
    return found[1].decode() if found else _UNREADABLE
