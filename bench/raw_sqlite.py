"""What somebody would write by hand on sqlite3: the same columns, indexes and durability."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from quantkeep.columns import EPOCH, Kind
from quantkeep.tape import Trade

NAMES = Trade.collection.names
_TYPES = {Kind.REAL: "REAL", Kind.INTEGER: "INTEGER", Kind.TIMESTAMP: "INTEGER"}
_take = attrgetter(*NAMES)
_AT = NAMES.index("timestamp")


def connect(path: Path) -> sqlite3.Connection:
    """A connection as durable as quantkeep's default."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def microseconds(moment: datetime) -> int:
    elapsed = moment - EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def row(trade: Trade) -> tuple[Any, ...]:
    """The columns of a trade, by hand."""
    values = _take(trade)
    return (*values[:_AT], microseconds(values[_AT]), *values[_AT + 1 :])


class Trades:
    """A table of trades."""

    insert = f"INSERT INTO trades ({', '.join(NAMES)}) VALUES ({', '.join('?' * len(NAMES))})"

    def __init__(self, path: Path) -> None:
        self.connection = connect(path)
        columns = ", ".join(
            f"{c.name} {_TYPES.get(c.kind, 'TEXT')}{'' if c.nullable else ' NOT NULL'}"
            for c in Trade.collection.columns
        )
        self.connection.execute(f"CREATE TABLE trades (id INTEGER PRIMARY KEY, {columns})")
        self.connection.execute(
            "CREATE UNIQUE INDEX trades_uid ON trades (account, mode, uid) WHERE uid IS NOT NULL"
        )
        for index in Trade.collection.indexes:
            name = "_".join(("trades", *index.columns))
            self.connection.execute(f"CREATE INDEX {name} ON trades ({', '.join(index.columns)})")

    def append(self, trade: Trade) -> None:
        """One row, one transaction."""
        self.connection.execute(self.insert, row(trade))

    def extend(self, trades: Iterable[Trade]) -> None:
        """Many rows, one transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(self.insert, map(row, trades))
        self.connection.execute("COMMIT")

    def newest(self, limit: int) -> list[Trade]:
        query = (
            f"SELECT {', '.join(NAMES)} FROM trades WHERE account = ? AND mode = ? "
            "ORDER BY timestamp DESC, id DESC LIMIT ?"
        )
        return self._read(query, "default", "paper", limit)[::-1]

    def between(self, symbol: str, since: datetime, until: datetime) -> list[Trade]:
        query = (
            f"SELECT {', '.join(NAMES)} FROM trades WHERE symbol = ? AND timestamp >= ? "
            "AND timestamp < ? AND mode = ? ORDER BY timestamp, id"
        )
        return self._read(query, symbol, microseconds(since), microseconds(until), "paper")

    def _read(self, query: str, *asked: Any) -> list[Trade]:
        return [*map(trade, self.connection.execute(query, asked).fetchall())]


def trade(values: tuple[Any, ...]) -> Trade:
    """A row as a record, by hand."""
    said = dict(zip(NAMES, values, strict=True))
    said["timestamp"] = datetime.fromtimestamp(said["timestamp"] / 1e6, UTC)
    return Trade(**said)


class States:
    """Session state as rows of JSON: a row a position, and one for all the rest."""

    def __init__(self, path: Path) -> None:
        self.connection = connect(path)
        self.connection.execute(
            "CREATE TABLE entries (session TEXT, section TEXT, key TEXT, body TEXT, "
            "PRIMARY KEY (session, section, key)) WITHOUT ROWID"
        )
        self.connection.execute("CREATE TABLE sessions (id TEXT PRIMARY KEY, loops INTEGER)")
        self.connection.execute("INSERT INTO sessions VALUES ('s', 0)")

    def save(self, positions: Mapping[str, Any], tick: int | None = None) -> None:
        """Upsert what changed and count the loop, in one transaction."""
        rows = [("positions", key, json.dumps(position)) for key, position in positions.items()]
        if tick is not None:
            rows.append(("engine", "tick", json.dumps(tick)))
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO entries VALUES ('s', ?, ?, ?) ON CONFLICT (session, section, key) "
            "DO UPDATE SET body = excluded.body",
            rows,
        )
        self.connection.execute("UPDATE sessions SET loops = loops + 1 WHERE id = 's'")
        self.connection.execute("COMMIT")

    def load(self) -> dict[str, Any]:
        rows = self.connection.execute("SELECT key, body FROM entries WHERE session = 's'")
        return {key: json.loads(body) for key, body in rows.fetchall()}
