"""Code that loads rows of one collection, written out and compiled once.

Every row that is read comes through it. A loop over the columns takes twice as long.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Column

Load = Callable[[tuple[Any, ...]], StoredRow]


@attrs.frozen
class Forms:
    """How an engine says what was selected, in lines of Python.

    Attributes:
        taken_apart: lines that make of ``raw`` the listed values, ``revision``, ``created``,
            ``updated``, ``version``, ``digest`` and ``seal``.
        value: a line that makes of ``v<place>`` the canonical scalar, where it is another.
        sealed: what the seal is over: arguments of the function that makes it.
        known: names that those lines use.
    """

    taken_apart: Callable[[Collection, str], Iterator[str]]
    value: Callable[[int, Column], str | None]
    sealed: Callable[[Collection], str]
    known: Mapping[str, Any]


def compose(
    collection: Collection, forms: Forms, seal_of: Callable[..., int], broken: Callable[..., Any]
) -> Load:
    """The function that makes a stored row of what was selected, its seal checked by *seal_of*.

    *broken* is called with the row where the seal is another.
    """
    known: dict[str, Any] = {
        **forms.known,
        "StoredRow": StoredRow,
        "broken": broken,
        "make": tuple.__new__,
        "seal_of": seal_of,
        "struct_error": struct.error,
    }
    exec("\n ".join(_lines(collection, forms)), known)  # noqa: S102  # written here, of places alone
    load: Load = known["load"]
    return load


def _lines(collection: Collection, forms: Forms) -> Iterator[str]:
    values = "".join(f"v{place}, " for place in range(len(collection.columns)))
    yield "def load(raw):"
    yield from forms.taken_apart(collection, values)
    for place, column in enumerate(collection.columns):
        line = forms.value(place, column)
        if line is not None:
            yield line
    yield f"row = make(StoredRow, (({values}), revision, created, updated, version, digest))"
    yield f"try: good = seal_of({forms.sealed(collection)}) == seal"
    yield "except (TypeError, struct_error): good = False"  # what was stored is no digest
    yield "return row if good else broken(row)"
