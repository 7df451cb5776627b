"""The plain text of a canonical scalar, exact: what CSV, JSON and tables write of most kinds."""

from collections.abc import Callable
from datetime import UTC
from typing import Any, Final

from quantkeep.columns import Kind, instant


def plain(kind: Kind) -> Callable[[Any], str]:
    """The function that gives the text of a non-null scalar of *kind*."""
    return _PLAIN.get(kind, str)


def iso(scalar: int) -> str:
    """``2025-01-17T09:00:00.000000Z``; of one length, so that it sorts as it counts."""
    at = instant(scalar).astimezone(UTC).replace(tzinfo=None)
    return at.isoformat(timespec="microseconds") + "Z"


_PLAIN: Final[dict[Kind, Callable[[Any], str]]] = {
    Kind.TIMESTAMP: iso,
    Kind.REAL: repr,
    Kind.BOOLEAN: lambda scalar: "true" if scalar else "false",
    Kind.BINARY: lambda scalar: str(scalar.hex()),
}
