"""Sort keys: None first, ties by key, each column up or down."""

from collections.abc import Callable, Sequence
from typing import Any

from quantkeep.collection import Collection, StoredRow
from quantkeep.columns import Kind, Scalar
from quantkeep.query._columns import column_of, comparable, value_of


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


def _part(kind: Kind, scalar: Any, descending: bool) -> Any:
    part = (False, 0) if scalar is None else (True, comparable(kind, scalar))
    return _Descending(part) if descending else part


def sort_key(
    collection: Collection, ordering: Sequence[tuple[str, bool]]
) -> Callable[[StoredRow], tuple[Any, ...]]:
    """The key that sorts stored rows by *ordering*."""
    parts = [
        (value_of(collection, name), column_of(collection, name).kind, descending)
        for name, descending in ordering
    ]
    return lambda stored: tuple(_part(kind, take(stored), down) for take, kind, down in parts)


def cursor_key(
    collection: Collection, ordering: Sequence[tuple[str, bool]], cursor: Sequence[Scalar]
) -> tuple[Any, ...]:
    """The sort key of the row that *cursor* stands at."""
    return tuple(
        _part(column_of(collection, name).kind, scalar, descending)
        for (name, descending), scalar in zip(ordering, cursor, strict=True)
    )
