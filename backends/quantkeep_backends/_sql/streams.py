"""The texts by which tables know streams."""

import json
import math
from typing import Any, Final

from quantkeep.collection import Key
from quantkeep.columns import Scalar

_ENCODED: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def stream_text(stream: Key) -> str:
    """The text a stream is known by: equal streams have equal texts, others have not."""
    return _ENCODED([_said(part) for part in stream])


def stream_of_text(text: str) -> Key:
    """The stream that has this :func:`stream_text`."""
    parts = json.loads(text)
    return tuple(bytes.fromhex(p["hex"]) if isinstance(p, dict) else p for p in parts)


def _said(part: Scalar) -> Any:
    if isinstance(part, bytes):
        return {"hex": part.hex()}
    if isinstance(part, float):
        return math.nan if math.isnan(part) else part + 0.0  # -0.0 is the same stream as 0.0
    return part
