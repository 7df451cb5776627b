"""``postgresql://``: a schema of its own in a PostgreSQL database, for many processes and hosts.

psycopg and SQLAlchemy are imported when a keep is opened.
"""

from typing import TYPE_CHECKING

from quantkeep.backend import Backend, Capability, Durability
from quantkeep.hookspecs import BackendInfo, Opening, hookimpl
from quantkeep.url import Url

if TYPE_CHECKING:
    import sqlalchemy as sa

_SCHEME = "postgresql"


@hookimpl
def quantkeep_open(url: Url, opening: Opening) -> Backend | None:
    if url.scheme != _SCHEME:
        return None
    from quantkeep_backends.postgresql.opening import open_backend

    return open_backend(url, opening)


@hookimpl
def quantkeep_backend() -> BackendInfo:
    return BackendInfo(
        scheme=_SCHEME,
        summary="a schema of its own in a PostgreSQL database, for many processes and hosts",
        example="postgresql://bot@db.example.com/trading?schema=quantkeep",
        capabilities=Capability.PERSISTENT
        | Capability.MULTI_PROCESS
        | Capability.MULTI_HOST
        | Capability.PUSH_DOWN
        | Capability.SNAPSHOT_READS
        | Capability.STORE_CLOCK
        | Capability.FAILPOINTS,
        durability=Durability.DISK,
        options={
            "schema": "where the tables are (quantkeep)",
            "pool_size": "connections at most (16)",
            "pool_timeout": "seconds to wait for one of them (30)",
            "connect_timeout": "seconds to wait for the server (10)",
            "timeout": "seconds of silence after which the server is given up (30)",
            "lock_timeout": "seconds to wait for other writers (20)",
            "prepare": "no: prepare no statements, for a pooler that shares connections",
            "synchronous_commit": "as PostgreSQL means it; off is faster, a crash loses commits",
            "sslmode": "and the other settings of libpq for TLS, as libpq takes them",
        },
    )


@hookimpl
def quantkeep_scratch(url: Url, name: str) -> str | None:
    if url.scheme != _SCHEME:
        return None
    from quantkeep_backends.postgresql.scratch import beside

    return beside(url, name)


@hookimpl
def quantkeep_scratch_discard(url: Url) -> None:
    if url.scheme == _SCHEME:
        from quantkeep_backends.postgresql.scratch import discard

        discard(url)


class using:  # noqa: N801  # reads as a function
    """A plugin that lets keeps share *engine*, which stays open when they are closed.

    The engine is an SQLAlchemy engine of ``postgresql+psycopg``; the URL says the schema alone::

        quantkeep.open("postgresql://?schema=bots", plugins=[postgresql.using(engine)])
    """

    def __init__(self, engine: "sa.Engine") -> None:
        self._engine = engine

    @hookimpl(tryfirst=True)
    def quantkeep_open(self, url: Url, opening: Opening) -> Backend | None:
        if url.scheme != _SCHEME:
            return None
        from quantkeep_backends.postgresql.opening import open_backend

        return open_backend(url, opening, self._engine)
