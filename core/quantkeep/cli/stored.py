"""A keep as it describes itself: what commands look into, without the classes of its records (Z-3).

Nothing is created, migrated or written, so that a keep of any age, or with collections of a program
that is not installed here, can be looked into.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import attrs
import pluggy

from quantkeep import schema
from quantkeep.collection import Collection
from quantkeep.configuration import find
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

    Raises:
        NotFound: there is no keep.
        InvalidUrl, UnknownBackend, DriverMissing, Unavailable, Corrupt: as :func:`quantkeep.open`.
    """
    configuration = find(target)
    manager = plugin_manager(configuration.plugins)
    places: dict[str, list[str]] = {}
    for store, text in configuration.urls.items():
        places.setdefault(text, []).append(store)
    with ExitStack() as opened:
        yield StoredKeep(
            tuple(
                _part(text, stores, manager, opened, read_only=not writable)
                for text, stores in places.items()
            )
        )


def _part(
    text: str,
    stores: list[str],
    manager: pluggy.PluginManager,
    opened: ExitStack,
    *,
    read_only: bool,
) -> Part:
    url = Url.parse(text)
    engine = open_backend(url, manager, Opening(create=False, migrate=False, read_only=read_only))
    backend = GuardedBackend(engine, read_only=read_only)
    opened.callback(backend.close)
    description = backend.description()
    if description is None:
        raise NotFound(f"there is no keep at {url}: nothing was ever stored there")
    collections = {c.name: c for c in schema.understand(description)}
    return Part(url, tuple(stores), backend, collections)
