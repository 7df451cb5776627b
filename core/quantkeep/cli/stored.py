"""A keep as it describes itself: what commands look into, without the classes of its records (Z-3).

Nothing is created, migrated or written, so that a keep of any age, or with collections of a program
that is not installed here, can be looked into.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs

from quantkeep import schema
from quantkeep.backend import Backend
from quantkeep.collection import Collection
from quantkeep.configuration import Configuration, find
from quantkeep.engines import Engines
from quantkeep.errors import NotFound
from quantkeep.guard import GuardedBackend
from quantkeep.hookspecs import Opening
from quantkeep.opening import open_backend, plugin_manager
from quantkeep.url import Url


@attrs.frozen
class Part:
    """One backend of a keep, and what it says it holds.

    Attributes:
        stores: names of the stores that are sent here by the configuration; ``""`` for the rest.
    """

    url: Url
    stores: tuple[str, ...]
    backend: GuardedBackend
    collections: Mapping[str, Collection]


@attrs.frozen
class StoredKeep:
    """All parts of a keep."""

    parts: tuple[Part, ...]

    def find(self, store: str, name: str) -> tuple[Part, Collection]:
        """The collection *name* of *store*, and where it is; raises :class:`NotFound`."""
        here = [part for part in self.parts if {store, ""} & {*part.stores}]
        here.sort(key=lambda part: store not in part.stores)  # its own place first
        for part in here:
            if name in part.collections:
                return part, part.collections[name]
        held = sorted({known for part in self.parts for known in part.collections})
        raise NotFound(f"this keep has no {name}; it has {', '.join(held) or 'no collections'}")


@contextmanager
def stored_keep(target: Any, *, writable: bool = False) -> Iterator[StoredKeep]:
    """Open what *target* names (as in :func:`quantkeep.open`) to be looked into, or cleaned up.

    Where the configuration names a fallback, and a place cannot be reached, that is looked into; it
    is never cleaned up in the place of another.

    Raises:
        NotFound: there is no keep.
        InvalidUrl, UnknownBackend, DriverMissing, Unavailable, Corrupt: as :func:`quantkeep.open`.
    """
    configuration = find(target)
    if writable:
        configuration = attrs.evolve(configuration, fallback=None)
    with ExitStack() as opened:
        places = _opened(configuration, opened, read_only=not writable)
        yield StoredKeep(
            tuple(
                _part(Url.parse(text), stores, GuardedBackend(engine, read_only=not writable))
                for text, (stores, engine) in places.items()
            )
        )


def _opened(
    configuration: Configuration, opened: ExitStack, *, read_only: bool
) -> dict[str, tuple[list[str], Backend]]:
    """By URL, the stores that are sent there and the engine; through the door of the API."""
    manager = plugin_manager(configuration.plugins)
    engines: dict[str, Backend] = {}
    chooser = Engines(
        configuration,
        Opening(create=False, migrate=False, read_only=read_only),
        lambda text, opening: open_backend(Url.parse(text), manager, opening),
        lambda engine, described: None,
        lambda use: None,  # who looks rings no bell: it is said on stderr
        engines,
    )
    places: dict[str, tuple[list[str], Backend]] = {}
    for text, stores in _by_url(configuration).items():
        place, engine = (
            (text, engines[text]) if text in engines else chooser.engine(text, tuple(stores))
        )
        if place not in engines:
            engines[place] = engine
            opened.callback(engine.close)
        places.setdefault(place, ([], engines[place]))[0].extend(stores)
    return places


def _by_url(configuration: Configuration) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for store, text in configuration.urls.items():
        places.setdefault(text, []).append(store)
    return places


def _part(url: Url, stores: list[str], backend: GuardedBackend) -> Part:
    description = backend.description()
    if description is None:
        raise NotFound(f"there is no keep at {url}: nothing was ever stored there")
    collections = {c.name: c for c in schema.understand(description)}
    return Part(url, tuple(stores), backend, collections)
