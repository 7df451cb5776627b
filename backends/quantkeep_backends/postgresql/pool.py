"""Connections on loan: from a pool of our own, or from that of an engine which others use too."""

import abc
import os
import queue
from collections import deque
from typing import Any, Final

import psycopg
import sqlalchemy as sa

from quantkeep.errors import Busy, Closed, InvalidUrl
from quantkeep_backends.postgresql.bounded import Patience
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.exchange import Exchange
from quantkeep_backends.postgresql.settings import Settings

_KEPT: Final = "quantkeep.exchanges"  # where a connection of others has what is ours


class Pool(abc.ABC):
    """Connections to one database.

    They are given back by finalisers of abandoned scans too, so giving back takes no lock.

    Attributes:
        closed: no reader may read on.
        size: how many connections there may be, where it is known.
    """

    closed = False
    size: int | None = None

    def take(self) -> Link:
        """A connection that is alive, to be given back.

        Raises:
            Busy: all are in use for too long.
            Closed: the keep was closed.
            psycopg.OperationalError: there is no connecting.
        """
        while True:
            if self.closed:
                raise Closed("this keep was closed; open it again")
            link = self._next()
            if not link.is_left:
                return link
            self._discard(link)

    def give(self, link: Link) -> None:
        """Take *link* back, out of any transaction it is in."""
        if not link.is_idle:
            link.undo()
        if link.is_idle:
            self._keep(link)
        else:
            self._discard(link)

    @abc.abstractmethod
    def _next(self) -> Link:
        """A connection, perhaps one that the server has left."""

    @abc.abstractmethod
    def _keep(self, link: Link) -> None:
        """Take back a connection that can be used again."""

    @abc.abstractmethod
    def _discard(self, link: Link) -> None:
        """Take back a connection that cannot."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close the idle ones, if they are ours; those in use are closed when they come back."""


class OwnPool(Pool):
    """A pool of our own: at most :attr:`size` connections, made when they are needed."""

    def __init__(self, settings: Settings) -> None:
        self.size: int = settings.pool_size
        self._settings = settings
        self._pid = os.getpid()
        self._idle: deque[Link] = deque()
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self.size):
            self._free.put(None)

    def _next(self) -> Link:
        try:
            self._free.get(timeout=self._settings.pool_timeout)
        except queue.Empty:
            raise Busy(
                f"all {self.size} connections of the pool were in use for "
                f"{self._settings.pool_timeout:g} seconds: close the iterators that scans gave, "
                "or allow more (?pool_size=32)"
            ) from None
        try:
            return self._idle_one() or self._connected()
        except BaseException:
            self._free.put(None)
            raise

    def _idle_one(self) -> Link | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connected(self) -> Link:
        settings = self._settings
        connection = psycopg.connect(**settings.connecting(), autocommit=True)
        patience = Patience(connection, settings.timeout)
        exchange = Exchange(connection, prepare=settings.prepare)
        return Link(connection, patience, settings.limits, exchange)

    def _keep(self, link: Link) -> None:
        if self.closed:
            link.connection.close()
        else:
            self._idle.append(link)
        self._free.put(None)

    def _discard(self, link: Link) -> None:
        link.connection.close()
        self._free.put(None)

    def close(self) -> None:
        self.closed = True
        while self._idle:
            link = self._idle.pop()
            if self._pid == os.getpid():  # a forked child must not say goodbye for its parent
                link.connection.close()


class SharedPool(Pool):
    """The pool of somebody's engine, which stays open."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        if engine.dialect.name != "postgresql" or engine.dialect.driver != "psycopg":
            raise InvalidUrl(
                f"the engine is one of {engine.dialect.name}+{engine.dialect.driver}: make one "
                "with create_engine('postgresql+psycopg://...')"
            )
        self._pool = engine.pool
        self._settings = settings

    def _next(self) -> Link:
        try:
            proxied = self._pool.connect()
        except sa.exc.TimeoutError:
            raise Busy(
                "all connections of the engine's pool are in use: try again, or make it larger"
            ) from None
        connection: Any = proxied.driver_connection
        connection.autocommit = True
        settings, kept = self._settings, proxied.info.setdefault(_KEPT, {})
        if settings.prepare not in kept:
            kept[settings.prepare] = Exchange(connection, prepare=settings.prepare)
        patience, exchange = Patience(connection, settings.timeout), kept[settings.prepare]
        return Link(connection, patience, settings.limits, exchange, proxied=proxied)

    def _keep(self, link: Link) -> None:
        assert link.proxied is not None
        link.patience.end()
        link.connection.autocommit = False  # as SQLAlchemy left it
        link.proxied.close()

    def _discard(self, link: Link) -> None:
        assert link.proxied is not None
        link.proxied.invalidate()

    def close(self) -> None:
        self.closed = True
