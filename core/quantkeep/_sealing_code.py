"""Code that seals rows of one pattern of types: written once per pattern, and then compiled.

A live append and a bulk load both wait for this. Looking at each column in a loop costs as much as
writing the row does; the same steps written out cost half of that. The steps are those of
:mod:`quantkeep.columns` and :mod:`quantkeep.digests`: a value is converted where its column says
so, and the content that the digest covers is laid out as documented there.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from quantkeep.collection import SealedRow
from quantkeep.columns import EPOCH, KEY_BYTES, Column, Kind
from quantkeep.digests import DIGEST_BYTES, FIXED

Pattern = Callable[[tuple[Any, ...], Any], SealedRow]

_HEAD: Final = "def seal(values, hosts):"


class Helpers(NamedTuple):
    """What the code calls where something is not plain."""

    record: str  # what errors call the record
    document: Callable[[int, Any, Any], str]  # encodes the document at a place
    complain: Callable[[Any], None]  # names what no engine can hold
    check_sizes: Callable[[Any, int], None]  # names what is too long


def compose(columns: Sequence[Column], signature: Sequence[type], helpers: Helpers) -> Pattern:
    """The function that seals values of the types in *signature*, all of which *columns* take."""
    known: dict[str, Any] = {
        **helpers._asdict(),
        "EPOCH": EPOCH,
        "SealedRow": SealedRow,
        "blake2b": blake2b,
        "make": tuple.__new__,
        "struct_error": struct.error,
    }
    lines = [_HEAD, *_steps(columns, signature, known), *_content(columns, signature, known)]
    exec("\n ".join(lines), known)  # noqa: S102  # written here, of places and constants alone
    pattern: Pattern = known["seal"]
    return pattern


def _steps(
    columns: Sequence[Column], signature: Sequence[type], known: dict[str, Any]
) -> Iterator[str]:
    yield "".join(f"v{place}, " for place in range(len(columns))) + "= values"
    for place, (column, given) in enumerate(zip(columns, signature, strict=True)):
        if given is type(None):
            continue
        if column.kind is Kind.DOCUMENT:
            yield f"v{place} = document({place}, v{place}, hosts)"
        elif column.needs_converting(given):
            known[f"convert{place}"] = column.converter(given)
            yield from _step(place, column, given, known)


def _step(place: int, column: Column, given: type, known: dict[str, Any]) -> Iterator[str]:
    """Converting one value; a check is written out, and its converter called to refuse."""
    value, convert = f"v{place}", f"convert{place}(v{place}, record)"
    bounded = bool(column.finite or column.between)
    if column.kind is Kind.TIMESTAMP and not column.choices and not bounded:
        yield f"if {value}.tzinfo is None: {convert}"
        yield f"past = {value} - EPOCH"
        yield f"{value} = (past.days * 86400 + past.seconds) * 1000000 + past.microseconds"
    elif column.kind is Kind.TEXT and column.choices and not bounded:
        known[f"choices{place}"] = frozenset(column.choices)
        yield f"if {value} not in choices{place}: {convert}"
    elif given is float and bounded and not column.choices:
        known[f"low{place}"], known[f"high{place}"] = column.between or (-_MOST, _MOST)
        yield f"if not low{place} <= {value} <= high{place}: {convert}"
    else:
        yield f"{value} = {convert}"


_MOST: Final = float.fromhex("0x1.fffffffffffffp+1023")  # the greatest finite float


def _content(
    columns: Sequence[Column], signature: Sequence[type], known: dict[str, Any]
) -> Iterator[str]:
    present = sorted(
        (column.name, place, column.kind)
        for place, (column, given) in enumerate(zip(columns, signature, strict=True))
        if given is not type(None)
    )
    fixed = [(place, FIXED[kind]) for _, place, kind in present if kind in FIXED]
    texts = [(place, kind) for _, place, kind in present if kind not in FIXED]
    known["HEADER"] = ",".join(name for name, _, _ in present).encode() + b"\n"
    known["pack"] = struct.Struct(">" + "".join(code for _, code in fixed)).pack
    packed = ", ".join(f"v{place}" for place, _ in fixed)
    joined = "".join(f"v{p}{'.hex()' if kind is Kind.BINARY else ''}, " for p, kind in texts)
    yield "row = (" + "".join(f"v{place}, " for place in range(len(columns))) + ")"
    yield f"text = '\\0'.join(({joined}))"
    yield f"if text.count('\\0') != {max(len(texts) - 1, 0)}: complain(row)"
    yield f"try: content = HEADER + pack({packed}) + text.encode()"
    yield "except (struct_error, ValueError): complain(row); raise"
    yield f"if len(content) > {KEY_BYTES}: check_sizes(row, len(content))"
    digest = f"blake2b(content, digest_size={DIGEST_BYTES}).digest()"
    yield f"return make(SealedRow, (row, {digest}, None, None))"
