"""A keep: one opened store-house, its stores each on their backend."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from quantkeep.backend import Health
from quantkeep.batch import Batch, Receipt, Write
from quantkeep.errors import InvalidRecord, InvalidUrl, Unsupported
from quantkeep.guard import GuardedBackend
from quantkeep.hosts import Hosts
from quantkeep.records import Record
from quantkeep.store import Home, PendingBatch, Store
from quantkeep.table import Table

if TYPE_CHECKING:
    from quantkeep.backtests import BacktestStore
    from quantkeep.knowledge import KnowledgeStore
    from quantkeep.predictions import PredictionStore
    from quantkeep.sessions import SessionStore
    from quantkeep.tape import TradeTape

R = TypeVar("R", bound=Record)


class Keep:
    """What :func:`quantkeep.open` gives. Use it in a ``with`` block, or call :meth:`close`.

    Safe to share between threads. After a fork, open again in the child.

    Attributes:
        hosts: your own types that session state and documents may hold.
    """

    def __init__(
        self, homes: Mapping[str, Home], stores: Mapping[str, Store], hosts: Hosts
    ) -> None:
        self._homes = homes  # by store name; "" is where everything else lives
        self._stores = stores
        self.hosts = hosts

    # -- the stores ------------------------------------------------------------------------------

    @property
    def sessions(self) -> "SessionStore":
        """Live state that a program resumes from, current positions and orders, bot state."""
        return self._store("sessions")  # type: ignore[return-value]  # built under that name

    @property
    def tape(self) -> "TradeTape":
        """What was done: trades, equity, position events, slippage, diagnostics, EV history."""
        return self._store("tape")  # type: ignore[return-value]  # built under that name

    @property
    def predictions(self) -> "PredictionStore":
        """What was predicted, for whom, by which agents, and how it turned out."""
        return self._store("predictions")  # type: ignore[return-value]  # built under that name

    @property
    def backtests(self) -> "BacktestStore":
        """What backtests gave: metadata, and three tables published whole and verified on read."""
        return self._store("backtests")  # type: ignore[return-value]  # built under that name

    @property
    def knowledge(self) -> "KnowledgeStore":
        """What was tried, how it failed, and the constraints that were learned from it."""
        return self._store("knowledge")  # type: ignore[return-value]  # built under that name

    def _store(self, name: str) -> Store:
        if name not in self._stores:
            raise InvalidUrl(
                f'this keep has no {name}: add `{name} = "sqlite:///bot.db"` (or another URL), or '
                "`default = ...`, to its configuration"
            )
        return self._stores[name]

    def table(self, record: type[R]) -> Table[R]:
        """Typed access to any collection, your own included (``open(..., records=[...])``)."""
        return self._home_of(record.collection.name).table(record)

    def _home_of(self, collection: str) -> Home:
        for home in self._homes.values():
            if collection in home.collections:
                return home
        raise InvalidUrl(f"{collection!r} is not in this keep: open it with records=[...]")

    # -- commits ---------------------------------------------------------------------------------

    def batch(self, *, op_id: str | None = None) -> PendingBatch:
        """Gather writes of several stores into one commit.

            with keep.batch(op_id="fill-4711") as batch:
                keep.tape.append(trade, batch=batch)
                session.save(batch=batch)

        Raises:
            Unsupported: the stores written to are not on one backend.
        """
        return PendingBatch(op_id)

    def commit(self, *writes: Write, op_id: str | None = None) -> Receipt:
        """Apply writes that tables made (``keep.table(Fill).append([...])``), all or none."""
        backends = {id(b): b for b in (self._backend_of(w) for w in writes)}
        if len(backends) > 1:
            raise Unsupported("a commit cannot span two backends; see Keep.batch")
        if not backends:
            return Receipt(op_id=op_id)
        return next(iter(backends.values())).commit(Batch(writes, op_id))

    def _backend_of(self, write: Write) -> GuardedBackend:
        if not isinstance(write, Write):
            raise InvalidRecord(
                f"{type(write).__name__} is no write: let its table make one, as in "
                "keep.commit(keep.table(Fill).append([fill]))"
            )
        return self._home_of(write.collection.name).backend

    def resolve(self, op_id: str) -> Receipt | None:
        """The receipt of what was committed under *op_id*, or ``None`` if nothing was.

        The way out of :class:`quantkeep.OutcomeUnknown`.
        """
        found = (backend.outcome(op_id) for backend in self.backends)
        return next((receipt for receipt in found if receipt is not None), None)

    # -- the whole -------------------------------------------------------------------------------

    @property
    def homes(self) -> Mapping[str, Home]:
        """Where each store lives; ``""`` is where records of no store do."""
        return self._homes

    @property
    def backends(self) -> Sequence[GuardedBackend]:
        """The backends, each once."""
        return [*{id(h.backend): h.backend for h in self._homes.values()}.values()]

    @property
    def backend(self) -> GuardedBackend:
        """The one backend of a keep that has one; raises :class:`Unsupported` otherwise."""
        first, *more = self.backends
        if more:
            raise Unsupported("this keep has several backends: see Keep.backends")
        return first

    def health(self) -> dict[str, Health]:
        """What each backend says of itself, by the names of the stores it has."""
        found: dict[int, tuple[list[str], Health]] = {}
        for name, home in self._homes.items():
            entry = found.setdefault(id(home.backend), ([], home.backend.health()))
            entry[0].append(name or "others")
        return {", ".join(names): health for names, health in found.values()}

    def sizes(self) -> dict[str, int]:
        """Rows of each collection, by name (CODEX-23 ``get_stats``)."""
        sizes: dict[str, int] = {}
        for backend in self.backends:
            for name, size in backend.sizes().items():
                sizes[name] = sizes.get(name, 0) + size
        return sizes

    def close(self) -> None:
        """Let go of every backend; idempotent."""
        for backend in self.backends:
            backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = ", ".join(sorted({b.name for b in self.backends}))
        return f"<Keep of {', '.join(sorted(self._stores))} on {where}>"
