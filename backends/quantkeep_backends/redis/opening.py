"""Opening: everything that is looked at before a keep is written to for the first time."""

import os
from contextlib import suppress
from typing import Any, Final

from quantkeep import schema
from quantkeep.contract import require_level
from quantkeep.errors import (
    Corrupt,
    DurabilityNotMet,
    FormatTooNew,
    NotFound,
    QuantkeepError,
    Unavailable,
    scrubbed,
)
from quantkeep.hookspecs import Opening
from quantkeep.url import Url
from quantkeep_backends.redis.backend import RedisBackend
from quantkeep_backends.redis.keys import Names
from quantkeep_backends.redis.link import ClusterLink, Link, Lost
from quantkeep_backends.redis.scripts import script
from quantkeep_backends.redis.server import Server
from quantkeep_backends.redis.settings import Settings, settings_of
from quantkeep_backends.redis.steps import step

LAYOUT: Final = 1  # of the keys; see docs/redis-keys.md


def open_backend(url: Url, opening: Opening) -> RedisBackend:
    """The backend at *url*; see :func:`quantkeep.open` for what it raises."""
    settings = settings_of(url)
    names = Names(settings.keep)
    link = linked(settings, names)
    try:
        return _opened(link, names, url, opening)
    except BaseException:
        link.close()
        raise


def linked(settings: Settings, names: Names) -> Link:
    """A link to the server, or to the node of a cluster that holds the keep."""
    return ClusterLink(settings, names.meta) if settings.cluster else Link(settings)


def _opened(link: Link, names: Names, url: Url, opening: Opening) -> RedisBackend:
    server = Server.observed(link)
    server.check(writing=not opening.read_only)
    if server.settings.wait > server.replicas and opening.durability is not None:
        raise DurabilityNotMet(
            f"{url}: {server.settings.wait} replicas are to have each commit, and "
            f"{server.replicas} are connected"
        )
    require_level(server.durability, opening.durability, url)
    _check_layout(_made(link, names, url, opening), url)
    return RedisBackend(link, names, server)


def _made(link: Link, names: Names, url: Url, opening: Opening) -> list[Any]:
    """What the keep says of itself, once it is there."""
    known: list[Any] = link.ask("HMGET", names.meta, "layout", "format", "id")
    if known[0] is not None:
        return known
    if opening.read_only or not opening.create:
        raise NotFound(f"{url}: there is no keep {link.settings.keep!r} on this server")
    step("redis.make.send", link)
    arguments = (LAYOUT, schema.FORMAT, os.urandom(16).hex())
    try:
        known = script("make").run(link, names.meta, *arguments)[0]
    except Lost as error:
        raise Unavailable(
            f"{link.settings.where} was lost while a keep was made: try again"
        ) from scrubbed(error)
    return known


def _check_layout(known: list[Any], url: Url) -> None:
    for what, found, ours in zip(
        ("layout", "format"), known, (LAYOUT, schema.FORMAT), strict=False
    ):
        if found is None or not found.isdigit():
            raise Corrupt(f"{url}: the keep does not know its own {what}", locator="meta")
        if int(found) > ours:
            raise FormatTooNew(
                f"{url} has {what} {int(found)}; this quantkeep reads up to {ours}: upgrade it"
            )


# -- places for tests ------------------------------------------------------------------------------


def discard(url: Url) -> None:
    """Remove the keep at *url*, and nothing else of the server's."""
    settings = settings_of(url)
    names = Names(settings.keep)
    with suppress(QuantkeepError):
        link = linked(settings, names)
        try:
            _discard(link, names)
        finally:
            link.close()


def _discard(link: Link, names: Names) -> None:
    cursor: Any = b"0"
    while True:
        cursor, found = link.ask("SCAN", cursor, "MATCH", names.pattern, "COUNT", 1000)
        if found:
            link.ask("UNLINK", *found)
        if cursor == b"0":
            return
