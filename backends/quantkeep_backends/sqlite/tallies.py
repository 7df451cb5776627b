"""Answers to tallies: grouped and computed by SQLite, ranked in Python."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from quantkeep.query import Condition, Tally
from quantkeep_backends._sql.conditions import term
from quantkeep_backends._sql.engine import Inexact
from quantkeep_backends._sql.queries import tallying
from quantkeep_backends.sqlite.prepared import Prepared


def answer(
    connection: sqlite3.Connection, prepared: Prepared, tally: Tally
) -> list[tuple[Any, ...]]:
    """The figures of each group; computed quickly, and again where that is not exact enough."""
    try:
        figures = _figures(connection, prepared, tally, exact=False)
    except (Inexact, sqlite3.OperationalError) as error:
        if not isinstance(error, Inexact) and "integer overflow" not in str(error):
            raise
        figures = _figures(connection, prepared, tally, exact=True)
    return tally.ranked(figures)


def _figures(
    connection: sqlite3.Connection, prepared: Prepared, tally: Tally, *, exact: bool
) -> list[tuple[Any, ...]]:
    shapes, values = _terms(prepared, tally.where)
    asked = (tally.by, tally.measures, shapes, exact)
    how = prepared.once(asked, lambda: tallying(prepared.layout, tally, shapes, exact=exact))
    rows = connection.execute(how.statement.sql, how.statement.arranged(values))
    return [how.finished(row) for row in rows]


def _terms(prepared: Prepared, where: Sequence[Condition]) -> tuple[tuple[Any, ...], list[Any]]:
    terms = [term(prepared.engine, prepared.collection, condition) for condition in where]
    shapes = tuple(each.shape for each in terms)
    return shapes, [value for each in terms for value in each.values]
