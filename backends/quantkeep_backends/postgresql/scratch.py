"""Schemas for tests, beside the one that a URL names."""

import secrets
from urllib.parse import urlencode

from psycopg import connect

from quantkeep.url import Url
from quantkeep_backends.postgresql.engine import PostgresqlEngine
from quantkeep_backends.postgresql.settings import Settings


def beside(url: Url, name: str) -> str:
    """*url* with another schema, that nobody has used."""
    own = f"{Settings.of(url).schema[:30]}_{name[:20]}_{secrets.token_hex(4)}"
    query = urlencode({**url.options, "schema": own})
    return url.parts._replace(query=query).geturl()


def discard(url: Url) -> None:
    """Drop the schema, with all that is in it."""
    settings = Settings.of(url)
    name = PostgresqlEngine(settings.schema).quoted(settings.schema)
    with connect(**settings.connecting(), autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
