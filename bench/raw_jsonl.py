"""What somebody would write by hand with a file of JSON lines: the same fields and durability."""

import json
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from quantkeep.tape import Trade

NAMES = Trade.collection.names
_take = attrgetter(*NAMES)
_encode = json.JSONEncoder(separators=(",", ":")).encode


def line(trade: Trade) -> str:
    """A trade as a line."""
    said = dict(zip(NAMES, _take(trade), strict=True))
    said["timestamp"] = trade.timestamp.isoformat()
    return _encode(said) + "\n"


def trade(text: str) -> Trade:
    """The trade of a line."""
    said = json.loads(text)
    said["timestamp"] = datetime.fromisoformat(said["timestamp"])
    return Trade(**said)


class Trades:
    """A file that is appended to, and read from its beginning; the newest from its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def extend(self, trades: Iterable[Trade]) -> None:
        os.write(self._file, "".join(map(line, trades)).encode())
        os.fsync(self._file)

    def all(self) -> Iterator[Trade]:
        with open(self._path, encoding="utf-8") as file:
            yield from map(trade, file)

    def between(self, symbol: str, since: datetime, until: datetime) -> list[Trade]:
        wanted = f'"symbol":"{symbol}"'  # a line is only taken apart if it may be one of them
        with open(self._path, encoding="utf-8") as file:
            found = (trade(text) for text in file if wanted in text)
            return [t for t in found if since <= t.timestamp <= until]

    def newest(self, count: int) -> list[Trade]:
        size = os.fstat(self._file).st_size
        tail = os.pread(self._file, 2_000 * count, max(0, size - 2_000 * count))
        return [trade(text.decode()) for text in tail.splitlines()[-count:]]


def save(path: Path, state: dict[str, Any]) -> None:
    """A state as one file, replaced whole."""
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(_encode(state))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
