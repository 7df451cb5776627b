"""Backends that change values on their way in, or answer queries otherwise than asked."""

import abc
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs

from naive.fronts import Rewriting, Wrapper, caught_by
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Kind, plain_decimal
from quantkeep.query import Query, Tally, Where, value_of

# -- values --------------------------------------------------------------------------------------


class OfKind(Rewriting):
    """Changes the values of one kind of column; not those of keys."""

    kind: Kind

    def value(self, collection: Collection, column: str, value: Any) -> Any:
        fits = collection.column(column).kind is self.kind and column not in collection.key
        return self.changed(value) if fits and value is not None else value

    @abc.abstractmethod
    def changed(self, value: Any) -> Any:
        """What becomes of *value*."""


@caught_by("values.microseconds")
class loses_microseconds(OfKind):
    kind = Kind.TIMESTAMP

    def changed(self, value: Any) -> Any:
        return value - value % 1_000_000


@caught_by("values.decimals")
class rounds_decimals(OfKind):
    kind = Kind.DECIMAL

    def changed(self, value: Any) -> Any:
        return plain_decimal(round(Decimal(value), 6))


@caught_by("values.nan", "listing.reals_with_nan_greatest")
class makes_nan_null(OfKind):
    kind = Kind.REAL

    def changed(self, value: Any) -> Any:
        return None if math.isnan(value) else value


@caught_by("values.negative_zero")
class loses_the_sign_of_zero(OfKind):
    kind = Kind.REAL

    def changed(self, value: Any) -> Any:
        return value + 0.0


@caught_by("values.integers")
class takes_integers_for_floats(OfKind):
    kind = Kind.INTEGER

    def changed(self, value: Any) -> Any:
        return min(int(float(value)), 2**63 - 1)


@caught_by("values.text")
class pads_and_strips_text(OfKind):
    kind = Kind.TEXT

    def changed(self, value: Any) -> Any:
        return value.rstrip(" ")


@caught_by("values.empty_is_not_null")
class takes_empty_text_for_null(Rewriting):
    def value(self, collection: Collection, column: str, value: Any) -> Any:
        return None if value == "" and collection.column(column).nullable else value


# -- listing -------------------------------------------------------------------------------------


@caught_by("identity.paper_is_not_live")
class swaps_paper_and_live(Wrapper):
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        where = tuple(self._swapped(condition) for condition in query.where)
        return self.engine.scan(collection, attrs.evolve(query, where=where))

    def _swapped(self, condition: Any) -> Any:
        other = {"paper": "live", "live": "paper"}
        if isinstance(condition, Where) and condition.column == "mode":
            return attrs.evolve(condition, value=other.get(condition.value, condition.value))
        return condition


@caught_by("listing.newest_n_ascending", "listing.newest_n_with_ties")
class returns_the_oldest_n(Wrapper):
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        return self.engine.scan(collection, attrs.evolve(query, take="first"))


@caught_by("listing.null_comes_first")
class puts_null_first_when_descending(Wrapper):
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        found = self.engine.scan(collection, query)
        if not query.order or query.order[0][0] != "-" or query.limit is not None:
            return found
        take = value_of(collection, query.order[0][1:])
        return iter(sorted(found, key=lambda row: take(row) is not None))


@caught_by("listing.decimals_by_value")
class orders_decimals_as_text(Wrapper):
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        found = self.engine.scan(collection, query)
        first = query.order[0].removeprefix("-") if query.order else "revision"
        if first in collection.places and collection.column(first).kind is Kind.DECIMAL:
            return iter(sorted(found, key=lambda row: str(value_of(collection, first)(row))))
        return found


@caught_by("listing.cursor_visits_ties")
class skips_ties_at_a_cursor(Wrapper):
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        if query.after is None or not query.order:
            return self.engine.scan(collection, query)
        column = query.order[0].removeprefix("-")
        without = attrs.evolve(query, where=(*query.where, Where(column, "!=", query.after[0])))
        return self.engine.scan(collection, without)


@caught_by("listing.prefix_is_literal", "hostile.ids_in_queries")
class takes_a_prefix_for_a_pattern(Wrapper):
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        where = tuple(self._cut(condition) for condition in query.where)
        return self.engine.scan(collection, attrs.evolve(query, where=where))

    def _cut(self, condition: Any) -> Any:
        if isinstance(condition, Where) and condition.operator == "prefix":
            return attrs.evolve(condition, value=condition.value.partition("%")[0])
        return condition


@caught_by("listing.equality_with_null")
class never_finds_null(Wrapper):
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        for condition in query.where:
            if isinstance(condition, Where) and condition.value is None:
                return iter(())
        return self.engine.scan(collection, query)


@caught_by("revisions.latest_is_by_revision")
class orders_by_the_clock(Wrapper):
    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        order = tuple("-created_at" if name == "-revision" else name for name in query.order)
        return self.engine.scan(collection, attrs.evolve(query, order=order))


@caught_by("tallies.decimals_are_exact")
class adds_decimals_as_floats(Wrapper):
    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        return [tuple(map(self._through_float, row)) for row in super().tally(collection, tally)]

    def _through_float(self, value: Any) -> Any:
        return Decimal(repr(float(value))) if isinstance(value, Decimal) else value


# -- keys and checks -----------------------------------------------------------------------------


@caught_by("identity.keys_are_exact", "hostile.ids")
class finds_keys_whatever_their_case(Wrapper):
    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        wanted = [part.lower() if isinstance(part, str) else part for part in key]
        for row in self.engine.scan(collection, Query()):
            known = collection.stored_key(row)
            if [p.lower() if isinstance(p, str) else p for p in known] == wanted:
                return row
        return None


@caught_by("identity.composite_keys_are_injective")
class joins_keys_with_a_colon(Wrapper):
    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        found = self.engine.get(collection, key)
        if found is None or len(key) < 2 or ":" not in "".join(map(str, key)):
            return found
        joined = ":".join(map(str, key))
        rows = self.engine.scan(collection, Query())
        return next(r for r in rows if ":".join(map(str, collection.stored_key(r))) == joined)


@caught_by(
    "corruption.changed_column_is_detected",
    "corruption.scans_detect_it",
    "corruption.flips_are_never_silent",
)
class believes_what_it_reads(Wrapper):
    """Takes the digest of what it finds, so that it always fits."""

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        found = self.engine.get(collection, key)
        return found and self._fitted(collection, found)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        return (self._fitted(collection, row) for row in self.engine.scan(collection, query))

    def _fitted(self, collection: Collection, row: StoredRow) -> StoredRow:
        return row._replace(digest=collection.digest(row.values))
