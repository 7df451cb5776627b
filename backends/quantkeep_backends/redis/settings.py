"""What a URL says: which server, which keep on it, how patient, how durable."""

from typing import Any, Final
from urllib.parse import unquote

import attrs

from quantkeep.backend import Durability
from quantkeep.errors import InvalidUrl
from quantkeep.url import Url, yes_or_no

OPTIONS: Final = {
    "name": "the keep's name on the server (default)",
    "timeout": "seconds to wait for an answer (10)",
    "connections": "how many at most (32); a thread waits for one as long as for an answer",
    "wait": "replicas that must have each commit before it returns (0): durability replicated",
    "cluster": "yes: the address is of any node of a Redis Cluster",
    "ca": "of rediss://, the file of the authorities to trust (the system's)",
    "durability": "the level the server has, where it does not let its CONFIG be read",
}


@attrs.frozen
class Settings:
    """How to reach one keep. The password is for the driver alone."""

    keep: str
    host: str
    port: int
    socket: str | None
    database: int
    user: str | None
    password: str | None = attrs.field(repr=False)
    tls: bool
    authorities: str  # the file of them; empty: the system's
    cluster: bool
    timeout: float
    connections: int
    wait: int
    claimed: Durability | None

    @property
    def where(self) -> str:
        """What errors call the server."""
        return self.socket or f"{self.host}:{self.port}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may show."""
        return (self.password,) if self.password else ()

    def connecting(self) -> dict[str, Any]:
        """What the driver's connections are made with; they retry nothing on their own."""
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        more = {"ssl_ca_certs": self.authorities} if self.tls and self.authorities else {}
        return {
            **more,
            "db": self.database,
            "username": self.user,
            "password": self.password,
            "socket_timeout": self.timeout,
            "socket_connect_timeout": self.timeout,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "socket_read_size": 2**17,  # of 900 KB in 1 ms instead of 5; more makes short ones slow
        }


def settings_of(url: Url) -> Settings:
    """What *url* sets; raises ``InvalidUrl``."""
    url.allow(*OPTIONS)
    socket = _socket(url) if "unix" in url.parts.scheme.split("+") else None
    keep = url.option("name", _named, "default")
    cluster = url.transport == "cluster" or url.option("cluster", yes_or_no, False)
    if cluster and (socket or _database(url)):
        raise InvalidUrl(f"{url}: a cluster has addresses and one database: redis://host:6379")
    return Settings(
        keep=keep,
        host=url.parts.hostname or "localhost",
        port=url.parts.port or 6379,
        socket=socket,
        database=0 if socket else _database(url),
        user=unquote(url.parts.username) if url.parts.username else None,
        password=unquote(url.parts.password) if url.parts.password else None,
        tls=url.parts.scheme.startswith("rediss"),
        authorities=url.option("ca", str, ""),
        cluster=cluster,
        timeout=url.option("timeout", _seconds, 10.0),
        connections=url.option("connections", _count(1, 10_000), 32),
        wait=url.option("wait", _count(0, 100), 0),
        claimed=url.option("durability", Durability.named, None),
    )


def _socket(url: Url) -> str:
    path = unquote(url.parts.path)
    if url.parts.hostname or not path.strip("/"):
        raise InvalidUrl(f"{url}: expected a socket, such as unix+redis:///run/redis.sock")
    return path


def _database(url: Url) -> int:
    said = url.parts.path.strip("/")
    if said and not (said.isdecimal() and said.isascii() and len(said) < 6):
        raise InvalidUrl(f"{url}: expected a database number after the host, such as /0")
    return int(said or 0)


def _named(text: str) -> str:
    if not 0 < len(text) <= 100:
        raise ValueError("expected a name of 1 to 100 characters")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.01 <= seconds <= 86_400:
        raise ValueError("expected seconds, up to a day")
    return seconds


class _count:  # noqa: N801  # reads as a function
    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        number = int(text)
        if not self._least <= number <= self._most:
            raise ValueError(f"expected a number from {self._least} to {self._most}")
        return number
