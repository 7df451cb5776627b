"""Opening a keep: find its backends, let plugins stand in front, make room for its collections."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from quantkeep import hookspecs, schema
from quantkeep.backend import Backend, Durability
from quantkeep.collection import Collection
from quantkeep.configuration import STORES, Configuration, find
from quantkeep.engines import Engines
from quantkeep.errors import (
    DriverMissing,
    InvalidRecord,
    InvalidUrl,
    UnknownBackend,
    UpgradeNeeded,
)
from quantkeep.fallback import FallbackUse, When
from quantkeep.guard import GuardedBackend
from quantkeep.hookspecs import BACKENDS, PLUGINS, Opening
from quantkeep.hosts import Hosts
from quantkeep.keep import Keep
from quantkeep.records import Record
from quantkeep.store import Home, Store
from quantkeep.url import Url

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def open(  # noqa: A001  # quantkeep.open is the name people call
    target: Any = None,
    *,
    create: bool = True,
    migrate: bool = True,
    read_only: bool = False,
    durability: str | Durability | None = None,
    records: Sequence[type[Record]] = (),
    types: Iterable[type] = (),
    converter: Any = None,
    choices: Mapping[str, Sequence[str]] | None = None,
    plugins: Sequence[Any] = (),
    fallback: str | None = None,
    fallback_on: When | None = None,
) -> Keep:
    """Open the keep at *target*.

    Args:
        target: a URL (``sqlite:///bot.db``), a mapping of store names to URLs (``default`` for the
            rest), or the path of a ``quantkeep.toml``; left out, the environment and the working
            folder are asked (see :mod:`quantkeep.configuration`).
        create: make the keep if there is none.
        migrate: add the collections, columns and indexes that are missing.
        read_only: refuse every write.
        durability: the least level every backend must reach: ``"process"``, ``"server"``,
            ``"disk"``, ``"replicated"``.
        records: record classes of your own, or that extend ours with fields (Z-3).
        types: classes of your own that session state and documents may hold.
        converter: a cattrs converter with hooks for such classes.
        choices: more values for extensible enumerations: ``{"trades.action": ["HEDGE"]}``.
        plugins: names of installed plugins, or plugin objects.
        fallback: a URL to write to while *target* cannot be reached; see :mod:`quantkeep.fallback`.
        fallback_on: ``"open"``: if it cannot be reached now; ``"loss"``: later on, too. A session
            that is open then goes no further: start one there.

    Raises:
        InvalidUrl, UnknownBackend, DriverMissing: what *target* names cannot be found.
        NotFound: there is no keep and *create* is false.
        DurabilityNotMet: a backend does not reach *durability*.
        UpgradeNeeded, FormatTooNew: the keep is older and *migrate* is false, or is newer.
        Unmerged: the fallback was written to, and was not merged since.
        Unavailable, Busy, Corrupt: the engine says so.
    """
    configuration = find(target)
    if fallback is not None or fallback_on is not None:
        configuration = configuration.with_fallback(fallback, fallback_on)
    opening = Opening(create, migrate, read_only, _level(durability or configuration.durability))
    manager = plugin_manager((*configuration.plugins, *plugins))
    hosts = Hosts(types, converter=converter)
    opener = _Opener(configuration, manager, opening, hosts)
    extra = [*records, *(r for more in manager.hook.quantkeep_records() for r in more)]
    homes = opener.homes(_collections(extra, choices or {}))
    stores = {name: cls(homes[name]) for name, cls in store_classes().items() if name in homes}
    for store in stores.values():
        store.meet(stores)
    return Keep(homes, stores, hosts)


def _level(wanted: str | Durability | None) -> Durability | None:
    try:
        return None if wanted is None else Durability.named(wanted)
    except ValueError as error:
        raise InvalidUrl(str(error)) from None


@cache
def store_classes() -> Mapping[str, type[Store]]:
    """The stores, by the name a keep has them under. Imported at the first opening."""
    from quantkeep.backtests import BacktestStore
    from quantkeep.knowledge import KnowledgeStore
    from quantkeep.predictions import PredictionStore
    from quantkeep.sessions import SessionStore
    from quantkeep.tape import TradeTape

    stores: tuple[type[Store], ...] = (
        SessionStore, TradeTape, PredictionStore, BacktestStore, KnowledgeStore,
    )  # fmt: skip
    return {cls.name: cls for cls in stores}


# -- plugins and backends ------------------------------------------------------------------------


def plugin_manager(plugins: Iterable[Any]) -> pluggy.PluginManager:
    """A manager with *plugins* (names of installed ones, or objects) and no backend yet."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    if os.environ.get("QUANTKEEP_DISABLE_PLUGINS"):
        return manager
    for plugin in plugins:
        if not isinstance(plugin, str):
            manager.register(plugin)
        elif not _registered(manager, PLUGINS, plugin):
            raise InvalidUrl(f"no plugin {plugin!r} is installed")
    return manager


def open_backend(url: Url, manager: pluggy.PluginManager, opening: Opening) -> Backend:
    """The engine at *url*, through the plugins of *manager*; raises what :func:`open` does."""
    if not manager.has_plugin(url.parts.scheme) and not manager.has_plugin(url.scheme):
        _load(url, manager)
    try:
        backend: Backend | None = manager.hook.quantkeep_open(url=url, opening=opening)
    except ModuleNotFoundError as error:  # drivers are imported no earlier
        raise _driver_missing(url.scheme, error) from error
    if backend is None:
        raise _unknown(url)
    return backend


def backend_hooks(url: Url, plugins: Iterable[Any] = ()) -> pluggy.PluginManager:
    """The manager that opening *url* would use: its backend, with *plugins* in front."""
    manager = plugin_manager(plugins)
    _load(url, manager)
    return manager


def _load(url: Url, manager: pluggy.PluginManager) -> None:
    """Import the backend that the scheme names, and no other."""
    for name in dict.fromkeys((url.parts.scheme, url.scheme)):
        try:
            if _registered(manager, BACKENDS, name):
                return
        except ModuleNotFoundError as error:
            raise _driver_missing(name, error) from error


def _registered(manager: pluggy.PluginManager, group: str, name: str) -> bool:
    """Import and register what is installed as *name* in *group*; whether there is such a thing."""
    found = _installed(tuple(sys.path)).get((group, name))
    if found is not None and not manager.has_plugin(name):
        manager.register(found.load(), name=name)
    return found is not None


@lru_cache(maxsize=4)
def _installed(path: tuple[str, ...]) -> "Mapping[tuple[str, str], EntryPoint]":
    """Our entry points on *path*: a hundred files are read for it, so not at each opening."""
    from importlib.metadata import entry_points

    found = (*entry_points(group=BACKENDS), *entry_points(group=PLUGINS))
    return {(one.group, one.name): one for one in reversed(found)}  # the first on the path wins


def _driver_missing(name: str, error: ModuleNotFoundError) -> DriverMissing:
    return DriverMissing(
        f"the backend {name!r} needs {error.name}, which is not installed: "
        f"pip install 'quantkeep[{name}]'"
    )


def _unknown(url: Url) -> UnknownBackend:
    from difflib import get_close_matches
    from importlib.metadata import entry_points

    scheme, names = url.parts.scheme, sorted({ep.name for ep in entry_points(group=BACKENDS)})
    meant = "".join(f"; did you mean {name}://?" for name in get_close_matches(scheme, names, n=1))
    return UnknownBackend(
        f"no backend answers to {scheme}://; installed are {', '.join(names) or 'none'}{meant}"
    )


# -- collections ---------------------------------------------------------------------------------


@attrs.frozen
class _Opener:
    """Opens each backend once, and gives every store that has a URL its home there."""

    configuration: Configuration
    manager: pluggy.PluginManager
    opening: Opening
    hosts: Hosts
    opened: dict[str, GuardedBackend] = attrs.field(factory=dict)  # by URL

    def homes(self, collections: Mapping[str, Sequence[Collection]]) -> dict[str, Home]:
        """Homes by store name; ``""`` is where records of no store live."""
        try:
            return self._homes(collections)
        except BaseException:
            for backend in self.opened.values():
                backend.close()
            raise

    def _homes(self, collections: Mapping[str, Sequence[Collection]]) -> dict[str, Home]:
        urls = self._urls()
        homes: dict[str, Home] = {}
        for text in dict.fromkeys(urls.values()):
            names = [name for name, url in urls.items() if url == text]
            ours = [c for name in names for c in collections.get(name, ())]
            backend = self._backend(text, names)
            home = Home(backend, _prepared(backend, ours, self.opening), self.hosts)
            homes.update(dict.fromkeys(names, home))
        return homes

    def _backend(self, text: str, names: Sequence[str]) -> GuardedBackend:
        """Where the stores *names* live, which are configured to live at *text*."""
        engines = Engines(
            self.configuration, self.opening, self._engine, self._make_room, self._say,
            {url: backend.engine for url, backend in self.opened.items()},
        )  # fmt: skip
        place, engine = engines.engine(text, tuple(names))
        if place not in self.opened:
            self.opened[place] = GuardedBackend(engine, read_only=self.opening.read_only)
        return self.opened[place]

    def _engine(self, text: str, opening: Opening) -> Backend:
        return open_backend(Url.parse(text), self.manager, opening)

    def _make_room(self, engine: Backend, described: str) -> None:
        _prepared(GuardedBackend(engine), schema.understand(described), self.opening)

    def _say(self, use: FallbackUse) -> None:
        self.manager.hook.quantkeep_fallback(use=use)

    def _urls(self) -> dict[str, str]:
        given = self.configuration.urls
        default = given.get("")
        urls = {name: url for name in STORES if (url := given.get(name, default)) is not None}
        urls[""] = next(iter(urls.values())) if default is None else default
        return urls


def _collections(
    extra: Sequence[type[Record]], choices: Mapping[str, Sequence[str]]
) -> dict[str, list[Collection]]:
    """The collections of each store, extended by *extra* records and *choices*."""
    found = {
        name: {record.collection.name: record.collection for record in cls.records}
        for name, cls in store_classes().items()
    }
    found[""] = {}
    for record in extra:
        _add(record.collection, found)
    for column, more in choices.items():
        _widen(column, more, found)
    return {name: [*collections.values()] for name, collections in found.items()}


def _add(collection: Collection, found: dict[str, dict[str, Collection]]) -> None:
    home = next((c for c in found.values() if collection.name in c), found[""])
    before = home.get(collection.name)
    if before is not None and not set(before.names) <= set(collection.names):
        raise InvalidRecord(
            f"{collection.name}: {collection.record} has the name of a collection that it does not "
            "extend; derive it from that record, or name it otherwise"
        )
    home[collection.name] = collection


def _widen(column: str, more: Sequence[str], found: dict[str, dict[str, Collection]]) -> None:
    name, _, field = column.partition(".")
    for collections in found.values():
        if name in collections:
            collections[name] = collections[name].extended({field: more})
            return
    raise InvalidRecord(f"choices for {column!r}: there is no collection {name!r}")


def _prepared(
    backend: GuardedBackend, ours: list[Collection], opening: Opening
) -> dict[str, Collection]:
    """The collections as this keep has them, room made for what was missing."""
    stored = backend.description()
    if schema.is_described(stored, schema.describe(ours)):
        return {c.name: c for c in ours}
    merged = schema.merge(ours, schema.understand(stored) if stored else [])
    described = schema.describe(merged)
    if not schema.is_described(stored, described):
        if opening.read_only or not opening.migrate:
            _needs_upgrade(merged, stored)
        else:
            backend.ensure(merged, described)
    return {c.name: c for c in merged}


def _needs_upgrade(merged: list[Collection], stored: str | None) -> None:
    had = {c.name: c for c in (schema.understand(stored) if stored else [])}
    lacking = [c.name for c in merged if c.name not in had or had[c.name].names != c.names]
    if lacking:
        raise UpgradeNeeded(
            f"this keep lacks {', '.join(lacking)} in their present form; open it once with "
            "migrate=True (and not read_only), or run `quantkeep upgrade URL`"
        )
