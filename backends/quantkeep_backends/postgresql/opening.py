"""Opening: everything that is looked at before the schema is written to for the first time."""

import sqlalchemy as sa

from quantkeep import schema
from quantkeep.contract import require_level
from quantkeep.errors import (
    Corrupt,
    FormatTooNew,
    InvalidUrl,
    NotFound,
    ReadOnly,
    Unsupported,
)
from quantkeep.hookspecs import Opening
from quantkeep.url import Url
from quantkeep_backends.postgresql.backend import PostgresqlBackend
from quantkeep_backends.postgresql.catalog import Catalog
from quantkeep_backends.postgresql.connections import Link
from quantkeep_backends.postgresql.database import Database
from quantkeep_backends.postgresql.pool import OwnPool, Pool, SharedPool
from quantkeep_backends.postgresql.schema import initialise
from quantkeep_backends.postgresql.server import OLDEST, ServerFacts
from quantkeep_backends.postgresql.settings import Settings
from quantkeep_backends.postgresql.system import LAYOUT, META


def open_backend(url: Url, opening: Opening, engine: sa.Engine | None = None) -> PostgresqlBackend:
    """The backend at *url*, over connections of *engine* if one is given.

    See :func:`quantkeep.open` for what it raises.
    """
    if engine is None:
        settings = Settings.of(url)
        pool: Pool = OwnPool(settings)
    else:
        settings = Settings.beside(engine, url)
        pool = SharedPool(engine, settings)
    database = Database(pool, settings, read_only=opening.read_only)
    try:
        return _opened(database, url, opening)
    except BaseException:
        database.close()
        raise


def _opened(database: Database, url: Url, opening: Opening) -> PostgresqlBackend:
    server = database.read(ServerFacts.read)
    _check_server(server, database)
    if not opening.read_only and not server.accepts_writes:
        raise ReadOnly(
            f"{database.where}: the server accepts no writes (a standby, or read-only by its "
            "settings): open it with read_only=True, or name the primary"
        )
    catalog = database.read(lambda link: Catalog.read(link, database.engine.schema))
    if _is_new(catalog, database):
        _require_making(database, opening)
        initialise(database)
    else:
        database.read(lambda link: _check_format(link, database))
    backend = PostgresqlBackend(database)
    require_level(backend.durability, opening.durability, url)
    return backend


def _check_server(server: ServerFacts, database: Database) -> None:
    if server.version < OLDEST:
        raise Unsupported(
            f"{database.where}: PostgreSQL {server.settings['server_version']} is too old: 15 or "
            "newer is needed, for unique constraints under which a null counts as a value"
        )
    if server.settings["server_encoding"] != "UTF8":
        raise Unsupported(
            f"{database.where}: the database's encoding is {server.settings['server_encoding']}: "
            "create one with encoding UTF8"
        )


def _is_new(catalog: Catalog, database: Database) -> bool:
    """Whether the schema is missing or empty; raises ``InvalidUrl`` if it is another program's."""
    if catalog.columns.get(META, {}).keys() >= {"name", "value"}:
        return False
    if catalog.relations:
        raise InvalidUrl(
            f"{database.where} holds what another program made ({min(catalog.relations)!r}, for "
            "one), and was not changed: name a schema that quantkeep made, or one that is not "
            "there yet (?schema=quantkeep)"
        )
    return True


def _require_making(database: Database, opening: Opening) -> None:
    if opening.read_only or not opening.create:
        raise NotFound(
            f"{database.where} is not there, or empty"
            + ("" if opening.create else "; create=True makes it")
        )


def _check_format(link: Link, database: Database) -> None:
    table = database.engine.table(META)
    sql = f"SELECT name, value FROM {table} WHERE name IN ('format', 'layout')"
    found: dict[str, str] = {name: value for name, value in link.run(sql)}  # noqa: C416  # pairs
    for name, known in (("format", schema.FORMAT), ("layout", LAYOUT)):
        text = found.get(name, "")
        if not text.isdecimal():
            raise Corrupt(
                f"{database.where} does not know its own {name}: {META} was changed outside "
                "quantkeep; restore the schema from a backup",
                locator=META,
            )
        if int(text) > known:
            raise FormatTooNew(
                f"{database.where} has {name} {text}; this quantkeep reads up to {known}: upgrade "
                "quantkeep"
            )
