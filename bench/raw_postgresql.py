"""What somebody would write by hand on psycopg: the same columns, indexes and durability."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import psycopg

from quantkeep.columns import Kind
from quantkeep.tape import Trade

NAMES = Trade.collection.names
_TYPES = {Kind.REAL: "float8", Kind.INTEGER: "bigint", Kind.TIMESTAMP: "timestamptz"}
TYPES = [_TYPES.get(column.kind, "text") for column in Trade.collection.columns]
row = attrgetter(*NAMES)
_LISTED = ", ".join(NAMES)


class Trades:
    """A table of trades."""

    def __init__(self, url: str, schema: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self._table = f"{schema}.trades"
        columns = ", ".join(
            f"{c.name} {kind}{'' if c.nullable else ' NOT NULL'}"
            for c, kind in zip(Trade.collection.columns, TYPES, strict=True)
        )
        self.connection.execute(f"CREATE SCHEMA {schema}")
        self.connection.execute(
            f"CREATE TABLE {self._table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
            f"{columns}, UNIQUE (account, mode, uid))"
        )
        for index in Trade.collection.indexes:
            self.connection.execute(f"CREATE INDEX ON {self._table} ({', '.join(index.columns)})")
        self._insert = (
            f"INSERT INTO {self._table} ({_LISTED}) VALUES ({', '.join(['%s'] * len(NAMES))})"
        )

    def append(self, trade: Trade) -> None:
        """One row, one prepared statement that commits itself."""
        self.connection.execute(self._insert, row(trade), prepare=True)

    def executemany(self, trades: Iterable[Trade]) -> None:
        """Many rows, one transaction; psycopg sends them in a pipeline."""
        with self.connection.transaction(), self.connection.cursor() as cursor:
            cursor.executemany(self._insert, map(row, trades))

    def copy(self, trades: Iterable[Trade]) -> None:
        """Many rows by COPY in binary form, one transaction."""
        copying = f"COPY {self._table} ({_LISTED}) FROM STDIN (FORMAT binary)"
        with self.connection.cursor() as cursor, cursor.copy(copying) as copy:
            copy.set_types(TYPES)
            for trade in trades:
                copy.write_row(row(trade))

    def copy_idempotent(self, trades: Iterable[Trade]) -> None:
        """As it is done where some may be there already: by way of a staging table."""
        with self.connection.transaction(), self.connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMP TABLE staging ON COMMIT DROP AS "
                f"SELECT {_LISTED} FROM {self._table} WITH NO DATA"
            )
            with cursor.copy(f"COPY staging ({_LISTED}) FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(TYPES)
                for trade in trades:
                    copy.write_row(row(trade))
            cursor.execute(
                f"INSERT INTO {self._table} ({_LISTED}) SELECT {_LISTED} FROM staging "
                "ON CONFLICT DO NOTHING"
            )

    def analyse(self) -> None:
        """Tell the planner what is there, as autovacuum does after a while."""
        self.connection.execute(f"ANALYZE {self._table}")

    def newest(self, limit: int) -> list[Trade]:
        query = (
            f"SELECT {_LISTED} FROM {self._table} WHERE account = %s AND mode = %s "
            "ORDER BY timestamp DESC, id DESC LIMIT %s"
        )
        return [*map(trade, self._read(query, ("default", "paper", limit))[::-1])]

    def between(self, symbol: str, since: datetime, until: datetime) -> list[Trade]:
        query = (
            f"SELECT {_LISTED} FROM {self._table} WHERE symbol = %s AND timestamp >= %s "
            "AND timestamp < %s AND mode = 'paper' ORDER BY timestamp, id"
        )
        return [*map(trade, self._read(query, (symbol, since, until)))]

    def every(self) -> int:
        """How many there are, each made a record."""
        query = f"SELECT {_LISTED} FROM {self._table} WHERE account = 'default' ORDER BY id"
        with self.connection.transaction(), self.connection.cursor("all", binary=True) as cursor:
            cursor.itersize = 2_000
            cursor.execute(query)
            return sum(1 for _ in map(trade, cursor))

    def _read(self, query: str, asked: Sequence[Any]) -> list[tuple[Any, ...]]:
        cursor = self.connection.cursor(binary=True)
        return cursor.execute(query, asked, prepare=True).fetchall()


def trade(values: tuple[Any, ...]) -> Trade:
    """A row as a record, by hand."""
    return Trade(**dict(zip(NAMES, values, strict=True)))


class States:
    """Session state as rows of JSON: a row a position, and one for all the rest."""

    def __init__(self, url: str, schema: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.connection.execute(f"CREATE SCHEMA {schema}")
        self.connection.execute(
            f"CREATE TABLE {schema}.entries (session text, section text, key text, body json, "
            "PRIMARY KEY (session, section, key))"
        )
        self.connection.execute(f"CREATE TABLE {schema}.sessions (id text PRIMARY KEY, loops int)")
        self.connection.execute(f"INSERT INTO {schema}.sessions VALUES ('s', 0)")
        self._schema = schema

    def save(self, positions: Mapping[str, Any], tick: int | None = None) -> None:
        """Upsert what changed and count the loop, in one transaction and pipeline."""
        rows = [("positions", key, json.dumps(position)) for key, position in positions.items()]
        if tick is not None:
            rows.append(("engine", "tick", json.dumps(tick)))
        with self.connection.pipeline(), self.connection.transaction():
            self.connection.cursor().executemany(
                f"INSERT INTO {self._schema}.entries VALUES ('s', %s, %s, %s) "
                "ON CONFLICT (session, section, key) DO UPDATE SET body = excluded.body",
                rows,
            )
            self.connection.execute(
                f"UPDATE {self._schema}.sessions SET loops = loops + 1 WHERE id = 's'",
                prepare=True,
            )

    def load(self) -> dict[str, Any]:
        query = f"SELECT key, body::text FROM {self._schema}.entries WHERE session = 's'"
        rows = self.connection.execute(query, prepare=True).fetchall()
        return {key: json.loads(body) for key, body in rows}
