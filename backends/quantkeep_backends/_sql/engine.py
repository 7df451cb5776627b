"""How one SQL engine holds and compares values. Each SQL backend implements it once."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from quantkeep.collection import Collection
from quantkeep.columns import Column, Kind, Scalar
from quantkeep.query import Measure

Expression = sa.ColumnElement[Any]


class Figure(NamedTuple):
    """How a measure is computed: what to select for it, and what makes the answer of that."""

    expressions: Sequence[Expression]
    finish: Callable[..., Any]


class Engine(abc.ABC):
    """Types, comparisons and figures of one engine, all of them meaning what core means."""

    dialect: sa.Dialect
    table_options: dict[str, Any]

    @abc.abstractmethod
    def column_type(self, column: Column) -> sa.types.TypeEngine[Any]:
        """The type that holds the scalars of *column* without loss (Z-5)."""

    @abc.abstractmethod
    def check(self, column: Column) -> str | None:
        """The condition, in SQL, that every value of *column* meets; ``None`` if there is none."""

    @abc.abstractmethod
    def stamps(self, collection: Collection) -> Sequence[sa.Column[Any]]:
        """The columns that the store keeps beside the content, the log's place included."""

    # -- comparing -------------------------------------------------------------------------------

    @abc.abstractmethod
    def same(self, column: Column, stored: Expression) -> Expression:
        """What of a *stored* value is compared by ``=``, against :meth:`same_value`."""

    @abc.abstractmethod
    def same_value(self, column: Column, scalar: Scalar) -> Any:
        """The counterpart of :meth:`same` for a canonical scalar."""

    @abc.abstractmethod
    def rank(self, column: Column, stored: Expression) -> Expression:
        """What of a *stored* value is compared by ``<`` and ordered by."""

    @abc.abstractmethod
    def rank_value(self, column: Column, scalar: Scalar) -> Any:
        """The counterpart of :meth:`rank` for a canonical scalar."""

    def ordered(self, column: Column, ranked: Expression, *, down: bool) -> Expression:
        """How to order by what :meth:`rank` gave, so that a null comes before everything."""
        return ranked.desc() if down else ranked.asc()

    def joined(
        self, column: Column, stored: Expression, other: Column, other_stored: Expression
    ) -> Expression:
        """Whether values of two columns, whose scalars can be compared, are the same."""
        left, right = self.same(column, stored), self.same(other, other_stored)
        nullable = column.nullable and other.nullable
        return left.is_not_distinct_from(right) if nullable else left == right

    @abc.abstractmethod
    def distinct(self, column: Column, stored: Expression) -> Expression:
        """What a unique index is made of, so that a null counts as a value (Z-32)."""

    @abc.abstractmethod
    def among(self, stored: Expression, listed: Expression) -> Expression:
        """Whether *stored* is in the list that one parameter holds; see :meth:`list_value`."""

    @abc.abstractmethod
    def list_value(self, column: Column, scalars: Sequence[Any]) -> Any | None:
        """*scalars* as one parameter for :meth:`among`; ``None`` if they cannot be listed so."""

    @abc.abstractmethod
    def contains(self, document: Expression, kind: str, element: Expression) -> Expression:
        """Whether *document*, a list, has *element*; *kind* is text, integer, true or false."""

    # -- figures ---------------------------------------------------------------------------------

    def shown(self, column: Column, stored: Expression) -> Expression:
        """What to select of a group of equal values to show the group's value."""
        shown: Expression = sa.func.min(stored)
        return shown

    @abc.abstractmethod
    def period(self, kind: Kind, stored: Expression, width: int) -> Expression:
        """The first *width* characters of a timestamp or date in ISO format."""

    @abc.abstractmethod
    def figure(
        self, measure: Measure, column: Column, stored: Expression, *, exact: bool
    ) -> Figure:
        """How *measure* is computed; if not *exact*, it may raise :class:`Inexact` in the end."""

    @abc.abstractmethod
    def scalar(self, column: Column, stored: Any) -> Scalar:
        """The canonical scalar of a value read back from *column*."""


class Inexact(ArithmeticError):
    """A quick figure is not known to be right: compute it exactly."""
