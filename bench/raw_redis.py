"""What one would write by hand on redis-py: MULTI, pipelines, packed chunks, a hash a session."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa
import redis

from quantkeep.columns import EPOCH
from quantkeep.tape import Trade

NAMES = Trade.collection.names
_take = attrgetter(*NAMES)
_AT = NAMES.index("timestamp")
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def microseconds(moment: datetime) -> int:
    elapsed = moment - EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def row(trade: Trade) -> tuple[Any, ...]:
    """The columns of a trade, by hand."""
    values = _take(trade)
    return (*values[:_AT], microseconds(values[_AT]), *values[_AT + 1 :])


def trade(packed: bytes) -> Trade:
    """A row as a record, by hand."""
    said = dict(zip(NAMES, _unpack(packed), strict=True))
    said["timestamp"] = datetime.fromtimestamp(said["timestamp"] / 1e6, UTC)
    return Trade(**said)


def reach(url: str) -> None:
    """Connect, and have an answer."""
    redis.Redis.from_url(url, protocol=2).ping()


class Trades:
    """A hash of packed trades by uid, and sorted sets of their times, of all and by symbol."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, protocol=2, socket_timeout=None)

    def append(self, one: Trade) -> None:
        """One trade, in a transaction."""
        self.extend([one])

    def extend(self, trades: Iterable[Trade]) -> None:
        """Many trades, 5,000 to a transaction."""
        rest = [*trades]
        for start in range(0, len(rest), 5_000):
            pipeline = self.client.pipeline(transaction=True)
            for each in rest[start : start + 5_000]:
                at = microseconds(each.timestamp)
                pipeline.hset("raw:tape", each.uid or "", _pack(row(each)))
                pipeline.zadd("raw:at", {each.uid or "": at})
                pipeline.zadd(f"raw:at:{each.symbol}", {each.uid or "": at})
            pipeline.execute()

    def newest(self, limit: int) -> list[Trade]:
        return self._read(self.client.zrevrange("raw:at", 0, limit - 1))[::-1]

    def between(self, symbol: str, since: datetime, until: datetime) -> list[Trade]:
        low, high = microseconds(since), microseconds(until)
        return self._read(self.client.zrangebyscore(f"raw:at:{symbol}", low, f"({high}"))

    def _read(self, ids: Any) -> list[Trade]:
        found: Any = self.client.hmget("raw:tape", ids) if ids else []
        return [*map(trade, found)]


class Chunks:
    """Arrow files of 10,000 rows, compressed, and a sorted set of their last times."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, protocol=2, socket_timeout=None)
        self.count = 0

    def append(self, table: pa.Table) -> None:
        pipeline = self.client.pipeline(transaction=True)
        for batch in table.to_batches(max_chunksize=10_000):
            self.count += 1
            name = f"raw:chunk:{self.count}"
            pipeline.set(name, _file(batch))
            last = batch.column("timestamp")[-1].value
            pipeline.zadd("raw:chunks", {name: last})
        pipeline.execute()

    def append_once(self, table: pa.Table) -> None:
        """The same, unless one of the ids is known; asked first, and noted with each chunk."""
        for batch in table.to_batches(max_chunksize=10_000):
            ids = batch.column("uid").to_pylist()
            found: Any = self.client.hmget("raw:ids", ids)
            if any(found):
                raise ValueError("some of these trades are there already")
            pipeline = self.client.pipeline(transaction=True)
            self.count += 1
            pipeline.set(f"raw:chunk:{self.count}", _file(batch))
            pipeline.hset("raw:ids", mapping=dict.fromkeys(ids, self.count))
            pipeline.execute()

    def read(self) -> int:
        """Every row as Arrow; how many there are."""
        names: Any = self.client.zrange("raw:chunks", 0, -1)
        rows = 0
        for start in range(0, len(names), 16):
            found: Any = self.client.mget(names[start : start + 16])
            for text in found:
                rows += pa.ipc.open_file(pa.py_buffer(text)).read_all().num_rows
        return rows


def _file(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    made: bytes = sink.getvalue().to_pybytes()
    return made


class States:
    """Session state as a hash, a field for each position, and one for all the rest."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, protocol=2, socket_timeout=None)

    def save(self, positions: Mapping[str, Any], tick: int | None = None) -> None:
        """Set what changed and count the loop, in one transaction."""
        said = {key: json.dumps(position) for key, position in positions.items()}
        if tick is not None:
            said["tick"] = json.dumps(tick)
        pipeline = self.client.pipeline(transaction=True)
        pipeline.hset("raw:state", mapping=said)
        pipeline.hincrby("raw:session", "loops", 1)
        pipeline.execute()

    def load(self) -> dict[str, Any]:
        found: Any = self.client.hgetall("raw:state")
        return {key: json.loads(body) for key, body in found.items()}
