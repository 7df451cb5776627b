"""Queries and tallies as SELECT statements."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from quantkeep.query import Measure, Per, Tally
from quantkeep_backends._sql.conditions import Scope, Shape, behind, expression
from quantkeep_backends._sql.engine import Engine, Expression
from quantkeep_backends._sql.statements import Slots, Statement, compiled
from quantkeep_backends._sql.tables import Layout

Ordering = tuple[tuple[str, bool], ...]


class Asked(NamedTuple):
    """Everything of a query that its SQL depends on; its values are kept apart.

    Attributes:
        where: the shapes of its conditions.
        ordering: (column, descending).
        after: the shape of its cursor.
        limited: whether a limit is the last value.
        last: the last rows of the order are wanted, in the order.
    """

    where: tuple[Shape, ...] = ()
    ordering: Ordering = ()
    after: Shape | None = None
    limited: bool = False
    last: bool = False


Extra = Callable[[Scope, Slots], Sequence[Expression]]
Ranked = Callable[[Scope, str], Expression]


def select(
    layout: Layout,
    asked: Asked,
    columns: Sequence[sa.Column[Any]],
    ordered: Ranked | None = None,
    extra: Extra | None = None,
    hint: str | None = None,
) -> Statement:
    """The SELECT that answers *asked*.

    Args:
        layout: the table.
        asked: what is asked of it.
        columns: what to select.
        ordered: the engine's own way to order by a column.
        extra: further conditions, whose values come first.
        hint: for the planner, of which index to use.
    """
    scope, slots = Scope(layout, layout.table), Slots()
    conditions = [*extra(scope, slots)] if extra else []
    conditions += [expression(shape, scope, slots) for shape in asked.where]
    if asked.after is not None:
        conditions.append(behind(asked.after, scope, slots))
    ranked = ordered or Scope.rank
    rows = sa.select(*columns).where(*conditions)
    if hint is not None:
        rows = rows.with_hint(layout.table, hint)
    rows = rows.order_by(*_order(scope, asked.ordering, ranked, around=asked.last))
    if asked.limited:
        rows = rows.limit(sa.type_coerce(slots.next(), sa.Integer))
    if asked.last:
        rows = _turned(layout, rows, asked.ordering, columns, ranked)
    return compiled(rows, layout.engine.dialect)


def _order(
    scope: Scope,
    ordering: Ordering,
    ranked: Ranked,
    *,
    around: bool,
) -> list[Expression]:
    engine, described = scope.layout.engine, scope.layout.described
    return [
        engine.ordered(described(name), ranked(scope, name), down=down != around)
        for name, down in ordering
    ]


def _turned(
    layout: Layout,
    rows: sa.Select[Any],
    ordering: Ordering,
    columns: Sequence[sa.Column[Any]],
    ranked: Ranked,
) -> sa.Select[Any]:
    """The rows found from the end of the order, back in the order."""
    found = rows.subquery("found")
    outer = Scope(layout, found)
    ordered = _order(outer, ordering, ranked, around=False)
    return sa.select(*(found.c[column.name] for column in columns)).order_by(*ordered)


def count_some(layout: Layout, where: Sequence[Shape]) -> Statement:
    """Counts the rows that meet *where*, no further than the last value."""
    scope, slots = Scope(layout, layout.table), Slots()
    conditions = [expression(shape, scope, slots) for shape in where]
    one: sa.Select[Any] = sa.select(sa.literal_column("1").label("one")).select_from(layout.table)
    some = one.where(*conditions).limit(sa.type_coerce(slots.next(), sa.Integer)).subquery("some")
    return compiled(sa.select(sa.func.count()).select_from(some), layout.engine.dialect)


# -- tallies --------------------------------------------------------------------------------------


class Tallying(NamedTuple):
    """A compiled tally: its statement, and what makes a figure of each measure's columns."""

    statement: Statement
    groups: Sequence[Callable[[Any], Any]]
    figures: Sequence[tuple[int, Callable[..., Any]]]  # how many columns, and what they make

    def finished(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """The group and its figures, in Python values."""
        made = [group(value) for group, value in zip(self.groups, row, strict=False)]
        place = len(made)
        for width, finish in self.figures:
            made.append(finish(*row[place : place + width]))
            place += width
        return tuple(made)


def tallying(
    layout: Layout,
    tally: Tally,
    where: Sequence[Shape],
    *,
    exact: bool,
    extra: Extra | None = None,
) -> Tallying:
    """The SELECT that answers *tally*, but for its order and limit."""
    scope, slots = Scope(layout, layout.table), Slots()
    conditions = [*extra(scope, slots)] if extra else []
    conditions += [expression(shape, scope, slots) for shape in where]
    groups = [_group(scope, group) for group in tally.by]
    figures = [_figure(scope, measure, exact=exact) for measure in tally.measures]
    selected = [shown for _, shown, _ in groups]
    selected += [part for figure in figures for part in figure.expressions]
    rows = sa.select(*(part.label(f"c{n}") for n, part in enumerate(selected)))
    rows = rows.select_from(layout.table).where(*conditions)
    if groups:
        rows = rows.group_by(*(by for by, _, _ in groups))
    return Tallying(
        compiled(rows, layout.engine.dialect),
        [python for _, _, python in groups],
        [(len(figure.expressions), figure.finish) for figure in figures],
    )


def _group(scope: Scope, group: str | Per) -> tuple[Expression, Expression, Callable[[Any], Any]]:
    """What to group by, what to select for it, and what makes the group's value of that."""
    engine = scope.layout.engine
    if isinstance(group, Per):
        column = scope.layout.described(group.column)
        width = {"year": 4, "month": 7, "day": 10, "hour": 13}[group.unit]
        period = engine.period(column.kind, scope.stored(group.column), width)
        return period, period, lambda text: text
    column = scope.layout.described(group)
    shown = engine.shown(column, scope.stored(group))
    return scope.same(group), shown, lambda value: column.python(engine.scalar(column, value))


def _figure(scope: Scope, measure: Measure, *, exact: bool) -> Any:
    if measure.column is None:
        return _counted(scope.layout.engine)
    column = scope.layout.described(measure.column)
    stored = scope.stored(measure.column)
    return scope.layout.engine.figure(measure, column, stored, exact=exact)


def _counted(engine: Engine) -> Any:
    from quantkeep_backends._sql.engine import Figure

    return Figure((sa.func.count(),), lambda count: count)
