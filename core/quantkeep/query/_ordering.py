"""Sort keys: None first, ties by key, each column up or down."""

from collections.abc import Callable, Sequence
from typing import Any

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Column, Scalar
from quantkeep.query._columns import ODD, column_of, nullable, value_of


class _Descending:
    """Turns an order around."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: "_Descending") -> bool:
        return bool(other.key < self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)


def sort_key(
    collection: Collection, ordering: Sequence[tuple[str, bool]]
) -> Callable[[StoredRow], tuple[Any, ...]]:
    """The key that sorts stored rows by *ordering*."""
    parts = [
        (value_of(collection, name), _part_of(column_of(collection, name), down=down))
        for name, down in ordering
    ]
    return lambda stored: tuple([part(take(stored)) for take, part in parts])


def cursor_key(
    collection: Collection, ordering: Sequence[tuple[str, bool]], cursor: Sequence[Scalar]
) -> tuple[Any, ...]:
    """The sort key of the row that *cursor* stands at."""
    return tuple(
        _part_of(column_of(collection, name), down=down)(scalar)
        for (name, down), scalar in zip(ordering, cursor, strict=True)
    )


def _part_of(column: Column, *, down: bool) -> Callable[[Any], Any]:
    """What turns a scalar of *column* into its part of a key."""
    kind = column.kind
    if kind not in ODD:
        up = _plain
    else:

        def up(scalar: Any) -> Any:
            return _plain(nullable(kind, scalar))

    return (lambda scalar: _Descending(up(scalar))) if down else up


def _plain(scalar: Any) -> tuple[bool, Any]:
    return (False, 0) if scalar is None else (True, scalar)
