"""JSON: one array, an object for each row, written as the rows come.

Numbers are numbers where every reader holds them exactly: integers beyond 2**53, Decimals, NaN and
infinities are text. Instants are ISO 8601, binary is hexadecimal, documents are nested as they are
(their tags as in :mod:`quantkeep.documents`).
"""

import json
import math
from collections.abc import Callable, Iterable
from typing import IO, Any, Final

from quantkeep.cli.formats.plain import iso
from quantkeep.cli.listing import Listing
from quantkeep.columns import Kind

_SAFE: Final = 2**53  # what a double holds: JavaScript and jq read every number as one


def write(listing: Listing, out: IO[str]) -> None:
    """Write *listing* to *out*."""
    wide = (getattr(out, "encoding", None) or "").lower().replace("-", "") == "utf8"
    encode = json.JSONEncoder(ensure_ascii=not wide, allow_nan=False).encode
    separator = "\n"
    out.write("[")
    for each in _objects(listing):
        out.write(separator + encode(each))
        separator = ",\n"
    out.write("\n]\n")


def _objects(listing: Listing) -> Iterable[dict[str, Any]]:
    values = [_VALUES.get(column.kind, _same) for column in listing.columns]
    for row in listing.rows:
        cells = zip(listing.names, values, row, strict=True)
        yield {name: None if cell is None else value(cell) for name, value, cell in cells}


def _same(scalar: Any) -> Any:
    return scalar


def _integer(scalar: int) -> int | str:
    return scalar if abs(scalar) <= _SAFE else str(scalar)


def _real(scalar: float) -> float | str:
    if math.isfinite(scalar):
        return scalar
    return "NaN" if math.isnan(scalar) else ("Infinity" if scalar > 0 else "-Infinity")


def _document(scalar: str) -> Any:
    return json.loads(scalar, parse_int=lambda digits: _integer(int(digits)))


_VALUES: Final[dict[Kind, Callable[[Any], Any]]] = {
    Kind.INTEGER: _integer,
    Kind.REAL: _real,
    Kind.TIMESTAMP: iso,
    Kind.BINARY: bytes.hex,
    Kind.DOCUMENT: _document,
}
