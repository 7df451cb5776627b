"""Conditions in two parts: their *shape*, for which SQL is compiled once, and their values.

A shape is a tuple that starts with a word; :func:`expression` turns it into SQL, taking one slot
for each value, in order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from quantkeep.collection import Collection
from quantkeep.columns import CANONICAL_TYPES, Column, Scalar
from quantkeep.query import Condition, Exists, Where, column_of
from quantkeep_backends._sql.engine import Engine, Expression
from quantkeep_backends._sql.statements import Slots
from quantkeep_backends._sql.tables import Layout

Shape = tuple[Any, ...]

# Not false(): SQLAlchemy would leave out what stands beside it, and values would have no slots
NOWHERE: Final[Expression] = sa.literal_column("(1 = 0)")
FEW: Final = 64  # values that are parameters of their own; more go into one list


class Term(NamedTuple):
    """A condition's shape, and the values for its slots."""

    shape: Shape
    values: tuple[Any, ...] = ()


NEVER: Final = Term(("never",))


# -- from conditions to terms ---------------------------------------------------------------------


def term(engine: Engine, collection: Collection, condition: Condition) -> Term:
    """The term of a bound *condition* on *collection*."""
    if isinstance(condition, Exists):
        return _exists(engine, condition)
    column = column_of(collection, condition.column)
    return _TERMS.get(condition.operator, _compared)(engine, column, condition)


def _exists(engine: Engine, condition: Exists) -> Term:
    inner = [term(engine, condition.collection, where) for where in condition.where]
    shapes = tuple(each.shape for each in inner)
    shape = ("exists", condition.collection, condition.on, shapes, condition.negate)
    return Term(shape, tuple(value for each in inner for value in each.values))


def _equal(engine: Engine, column: Column, where: Where) -> Term:
    if where.value is None:
        return Term(("null", column.name))
    return Term(("same", column.name), (engine.same_value(column, where.value),))


def _unequal(engine: Engine, column: Column, where: Where) -> Term:
    if where.value is None:
        return Term(("not null", column.name))
    return Term(("differs", column.name), (engine.same_value(column, where.value),))


def _compared(engine: Engine, column: Column, where: Where) -> Term:
    return Term((where.operator, column.name), (engine.rank_value(column, where.value),))


def _in(engine: Engine, column: Column, where: Where) -> Term:
    values = dict.fromkeys(engine.same_value(column, v) for v in where.value if v is not None)
    null = None in where.value
    if not values:
        return Term(("null", column.name)) if null else NEVER
    scalars = [*values]
    listed = engine.list_value(column, scalars) if len(scalars) > FEW else None
    if listed is not None:
        return Term(("listed", column.name, null), (listed,))
    places = (
        1 << (len(scalars) - 1).bit_length()
    )  # few lengths, so that few statements are compiled
    padded = scalars + scalars[-1:] * (places - len(scalars))
    return Term(("in", column.name, null, places), tuple(padded))


def _prefix(engine: Engine, column: Column, where: Where) -> Term:
    """A range, for a pattern would give letters of the prefix a meaning."""
    low: str = where.value
    if not low:
        return Term(("not null", column.name))
    high = _after_prefix(low)
    if high is None:
        return Term((">=", column.name), (low,))
    return Term(("range", column.name), (low, high))


def _after_prefix(prefix: str) -> str | None:
    """The least text that is greater than all that start with *prefix*."""
    head = prefix.rstrip("\U0010ffff")
    if not head:
        return None
    following = ord(head[-1]) + 1
    return head[:-1] + chr(0xE000 if following == 0xD800 else following)  # surrogates are no text


def _contains(engine: Engine, column: Column, where: Where) -> Term:
    element = where.value
    if type(element) is bool:
        return Term(("contains", column.name, "true" if element else "false"))
    kind = "integer" if type(element) is int else "text"
    return Term(("contains", column.name, kind), (element,))


_TERMS: Final[Mapping[str, Callable[[Engine, Column, Where], Term]]] = {
    "==": _equal,
    "!=": _unequal,
    "in": _in,
    "prefix": _prefix,
    "contains": _contains,
}


# -- from shapes to SQL ---------------------------------------------------------------------------


class Scope(NamedTuple):
    """The table that a shape speaks of, as it stands in a statement."""

    layout: Layout
    table: sa.FromClause

    def same(self, name: str) -> Expression:
        """What is compared by ``=``."""
        engine, column = self.layout.engine, self.layout.described(name)
        return engine.same(column, self.layout.stored(name, self.table))

    def rank(self, name: str) -> Expression:
        """What is compared by ``<``."""
        engine, column = self.layout.engine, self.layout.described(name)
        return engine.rank(column, self.layout.stored(name, self.table))

    def stored(self, name: str) -> Expression:
        """The column as it is stored."""
        return self.layout.stored(name, self.table)


def expression(shape: Shape, scope: Scope, slots: Slots) -> Expression:
    """The SQL of *shape*, with a slot for each of its values."""
    word, *said = shape
    return _EXPRESSIONS[word](scope, slots, *said)


def _listed(scope: Scope, slots: Slots, name: str, null: bool) -> Expression:
    found = scope.layout.engine.among(scope.same(name), slots.next())
    return sa.or_(found, scope.stored(name).is_(None)) if null else found


def _in_places(scope: Scope, slots: Slots, name: str, null: bool, places: int) -> Expression:
    found = scope.same(name).in_(slots.take(places))
    return sa.or_(found, scope.stored(name).is_(None)) if null else found


def _range(scope: Scope, slots: Slots, name: str) -> Expression:
    stored = scope.stored(name)
    return sa.and_(stored >= slots.next(), stored < slots.next())


def _has(scope: Scope, slots: Slots, name: str, kind: str) -> Expression:
    element = slots.next() if kind in ("text", "integer") else sa.null()
    return scope.layout.engine.contains(scope.stored(name), kind, element)


def _exists_there(
    scope: Scope,
    slots: Slots,
    collection: Collection,
    on: Sequence[tuple[str, str]],
    shapes: Sequence[Shape],
    negate: bool,
) -> Expression:
    layout = Layout(collection, scope.layout.engine)
    there = Scope(layout, layout.table.alias("there"))
    joined = [_joined(there, theirs, scope, ours) for theirs, ours in on]
    wanted = [expression(shape, there, slots) for shape in shapes]
    rows: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(there.table)
    found = sa.exists(rows.where(*joined, *wanted))
    return sa.not_(found) if negate else found


def _joined(there: Scope, theirs: str, here: Scope, ours: str) -> Expression:
    """Whether the two are the same; a null is the same as a null."""
    column, other = there.layout.described(theirs), here.layout.described(ours)
    if not _comparable(CANONICAL_TYPES[column.kind], CANONICAL_TYPES[other.kind]):
        return NOWHERE  # '1' is not 1, whatever an engine's affinities make of them
    return here.layout.engine.joined(column, there.stored(theirs), other, here.stored(ours))


def _comparable(one: type, other: type) -> bool:
    numbers = (int, float, bool)
    return one is other or (one in numbers and other in numbers)


_EXPRESSIONS: Final[Mapping[str, Callable[..., Expression]]] = {
    "never": lambda scope, slots: NOWHERE,
    "null": lambda scope, slots, name: scope.stored(name).is_(None),
    "not null": lambda scope, slots, name: scope.stored(name).is_not(None),
    "same": lambda scope, slots, name: scope.same(name) == slots.next(),
    "differs": lambda scope, slots, name: scope.same(name).is_distinct_from(slots.next()),
    "<": lambda scope, slots, name: scope.rank(name) < slots.next(),
    "<=": lambda scope, slots, name: scope.rank(name) <= slots.next(),
    ">": lambda scope, slots, name: scope.rank(name) > slots.next(),
    ">=": lambda scope, slots, name: scope.rank(name) >= slots.next(),
    "range": _range,
    "in": _in_places,
    "listed": _listed,
    "contains": _has,
    "exists": _exists_there,
}


# -- cursors --------------------------------------------------------------------------------------


def after(
    engine: Engine,
    collection: Collection,
    ordering: Sequence[tuple[str, bool]],
    cursor: Sequence[Scalar],
) -> tuple[Shape, tuple[Any, ...]]:
    """Shape and values of "behind *cursor* in this order"."""
    shape = tuple(
        (name, down, value is None) for (name, down), value in zip(ordering, cursor, strict=True)
    )
    values = tuple(
        engine.rank_value(column_of(collection, name), value)
        for (name, _), value in zip(ordering, cursor, strict=True)
        if value is not None
    )
    return shape, values


def behind(shape: Shape, scope: Scope, slots: Slots) -> Expression:
    """The SQL of a cursor: ``a > ? OR (a = ? AND (b > ? OR ...))``, nulls first."""
    places = [None if null else slots.next() for _, _, null in shape]
    found: Expression = sa.false()
    for (name, down, _), place in zip(reversed(shape), reversed(places), strict=True):
        found = _behind_one(scope, name, down, place, found)
    return found


def _behind_one(
    scope: Scope, name: str, down: bool, place: sa.BindParameter[Any] | None, ties: Expression
) -> Expression:
    rank, stored = scope.rank(name), scope.stored(name)
    if place is None:
        further = sa.false() if down else stored.is_not(None)
        return sa.or_(further, sa.and_(stored.is_(None), ties))
    if not down:  # the first part is redundant, and lets an index be used
        return sa.and_(rank >= place, sa.or_(rank > place, ties))
    found = sa.and_(rank <= place, sa.or_(rank < place, ties))
    return sa.or_(found, stored.is_(None)) if scope.layout.described(name).nullable else found
