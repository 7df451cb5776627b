"""What a URL may set."""

import math
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

import attrs
import sqlalchemy as sa

from quantkeep.errors import InvalidUrl
from quantkeep.url import Url, yes_or_no
from quantkeep_backends.postgresql.connections import Limits

SCHEMA: Final = "quantkeep"
LEVELS: Final = ("off", "local", "remote_write", "on", "remote_apply")

# Given to libpq as they are
_LIBPQ: Final = (
    "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation",
    "channel_binding", "gssencmode", "krbsrvname", "passfile", "service", "application_name",
    "target_session_attrs", "host", "port", "user", "password",
)  # fmt: skip
_OWN: Final = (
    "schema", "pool_size", "pool_timeout", "connect_timeout", "timeout", "lock_timeout", "prepare",
    "synchronous_commit",
)  # fmt: skip
_SHARED: Final = ("schema", "timeout", "lock_timeout", "prepare")  # beside somebody's engine
_SOONER: Final = 0.9  # of the timeout: the server is to give up a little earlier than we


@attrs.frozen
class Settings:
    """How to connect, and where to keep what."""

    schema: str = SCHEMA
    pool_size: int = 16
    pool_timeout: float = 30.0  # seconds
    connect_timeout: int = 10
    timeout: float = 30.0
    lock_timeout: float = 20.0
    prepare: bool = True
    synchronous_commit: str | None = None
    shared: bool = False  # connections are those of somebody's engine
    target: dict[str, Any] = attrs.field(factory=dict, repr=False)  # of libpq; has the password
    name: str = "postgresql"  # of the database, fit to be shown

    @classmethod
    def of(cls, url: Url) -> "Settings":
        """What *url* sets; raises ``InvalidUrl``."""
        if url.transport not in ("", "psycopg"):
            raise InvalidUrl(f"{url}: the driver is psycopg; write postgresql://...")
        url.allow(*_OWN, *_LIBPQ)
        usual = cls()
        timeout = url.option("timeout", _patience, usual.timeout)
        found = cls(
            schema=url.option("schema", _schema, usual.schema),
            pool_size=url.option("pool_size", _within(1, 1000), usual.pool_size),
            pool_timeout=url.option("pool_timeout", _seconds, usual.pool_timeout),
            connect_timeout=url.option("connect_timeout", _within(1, 3600), usual.connect_timeout),
            timeout=timeout,
            lock_timeout=url.option("lock_timeout", _seconds, min(usual.lock_timeout, timeout / 2)),
            prepare=url.option("prepare", yes_or_no, usual.prepare),
            synchronous_commit=url.option("synchronous_commit", _level, None),
            target=_target(url),
            name=_shown(url),
        )
        found._check(url)
        return found

    @classmethod
    def beside(cls, engine: sa.Engine, url: Url) -> "Settings":
        """What *url* sets where connections are those of *engine*; raises ``InvalidUrl``."""
        where = url.parts.netloc or url.parts.path.strip("/")
        affairs = sorted(url.options.keys() - _SHARED)
        if where or affairs:
            raise InvalidUrl(
                f"{url}: {'the server' if where else affairs[0]} is the affair of the engine that "
                f"was handed in: set it there; beside one, the URL takes {', '.join(_SHARED)}"
            )
        secret = {"password": engine.url.password} if engine.url.password else {}
        name = engine.url.render_as_string(hide_password=True).partition("?")[0]
        return attrs.evolve(cls.of(url), shared=True, target=secret, name=name)

    def _check(self, url: Url) -> None:
        """What does not go together would be passed over by somebody."""
        if self.lock_timeout >= self.timeout * _SOONER:
            raise InvalidUrl(
                f"{url}: option lock_timeout={self.lock_timeout:g}: expected less than nine tenths "
                f"of timeout={self.timeout:g}, after which the server is given up"
            )
        if self.synchronous_commit is not None and not self.prepare:
            raise InvalidUrl(
                f"{url}: option synchronous_commit: a pooler, which prepare=no is for, does not "
                "hand it on: set it for the role (ALTER ROLE ... SET synchronous_commit = ...)"
            )

    @property
    def limits(self) -> Limits:
        """What the server is told of waiting."""
        return Limits(
            known=self.prepare and not self.shared,
            locks=max(1, math.ceil(self.lock_timeout * 1000)),  # 0 would be: for ever
            statements=math.ceil(self.timeout * _SOONER * 1000),
        )

    def connecting(self) -> dict[str, Any]:
        """The arguments of a connection of our own."""
        said = {
            "application_name": "quantkeep",
            "client_encoding": "utf8",
            "connect_timeout": self.connect_timeout,
            "keepalives_idle": 30,  # a server that is gone is noticed within a minute
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": math.ceil(self.timeout * 1000),
        }
        if self.prepare:  # a pooler, which prepare=no is for, does not know options
            said["options"] = self._options()
        return {**said, **self.target}

    def _options(self) -> str:
        limits = self.limits
        options = f"-c lock_timeout={limits.locks} -c statement_timeout={limits.statements}"
        options += " -c standard_conforming_strings=on"
        if self.synchronous_commit is not None:
            options += f" -c synchronous_commit={self.synchronous_commit}"
        return options


def _target(url: Url) -> dict[str, Any]:
    parts = url.parts
    found = {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password,
        "dbname": parts.path.removeprefix("/"),
    }
    said = {name: unquote(v) if isinstance(v, str) else v for name, v in found.items() if v}
    return {**said, **{name: url.options[name] for name in _LIBPQ if name in url.options}}


def _shown(url: Url) -> str:
    """The place without options and password, for messages."""
    return str(url).partition("?")[0]


def _schema(text: str) -> str:
    reserved = text.startswith("pg_") or text == "information_schema"
    if not text or reserved or "\0" in text or len(text.encode()) > 63:
        raise ValueError("expected the name of a schema, at most 63 bytes, not one of PostgreSQL's")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise ValueError("expected seconds, up to a day")
    return seconds


def _patience(text: str) -> float:
    seconds = float(text)
    if not 0.01 <= seconds <= 86_400:
        raise ValueError("expected seconds, from 0.01 up to a day")
    return seconds


def _within(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise ValueError(f"expected a number from {low} to {high}")
        return number

    return read


def _level(text: str) -> str:
    if text not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}")
    return text
