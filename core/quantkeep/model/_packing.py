"""Canonical scalars as bytes: what stands in the keys and values of a key-value store."""

import json
import math
import struct
from hashlib import blake2b
from typing import Any

from quantkeep.collection import Key
from quantkeep.columns import Scalar

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def hashed(*scalars: Scalar) -> bytes:
    """What stands for *scalars* in a key. Equal ones are the same: -0.0 and 0.0, too."""
    exact = [s + 0.0 if isinstance(s, float) else s for s in scalars]
    return blake2b(pack(*exact), digest_size=20).digest()


def pack(*scalars: Scalar) -> bytes:
    """Canonical scalars as bytes, each told from all others: 1 from True, "1" and b"1"."""
    return _dumps([*map(plain, scalars)]).encode()


def unpack(data: bytes) -> Key:
    """What :func:`pack` was given."""
    return tuple([scalar_of(said) for said in json.loads(data)])


def plain(scalar: Scalar) -> Any:
    """*scalar* as JSON has it."""
    if isinstance(scalar, bytes):
        return {"bytes": scalar.hex()}
    if isinstance(scalar, float) and not math.isfinite(scalar):
        return {"real": struct.pack(">d", scalar).hex()}  # NaN has many, and JSON has none
    return scalar


def scalar_of(said: Any) -> Scalar:
    """What :func:`plain` was given."""
    if not isinstance(said, dict):
        return said  # type: ignore[no-any-return]  # JSON's own
    if "bytes" in said:
        return bytes.fromhex(said["bytes"])
    (real,) = struct.unpack(">d", bytes.fromhex(said["real"]))
    return float(real)
