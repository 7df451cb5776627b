"""Listing: bounds, order, ties, the newest N, cursors: one meaning everywhere (Z-38)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from quantkeep import Exists, Keep, Query, Where
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.records import Entry, Leg, Order, Specimen
from quantkeep_conformance.samples import FIRST_DAY
from quantkeep_conformance.suites.helpers import log, numbers, put


def names(keep: Keep, *where: Any, **asked: Any) -> list[str]:
    """The names of the specimens that a query finds, in its order."""
    return [specimen.name for specimen in keep.table(Specimen).list(*where, **asked)]


def specimens(keep: Keep, column: str, **values: Any) -> None:
    """A specimen for each name, with its value in *column*; written out of order."""
    put(keep, *(Specimen(name=name, **{column: values[name]}) for name in sorted(values)[::-1]))


class Listing(Suite):
    """What ``Query`` means, asked of the engine."""

    family = "listing"

    def test_by_key_without_an_order(self, keep: Keep) -> None:
        """Without an order, records come by their key, ascending by code point."""
        put(keep, *(Specimen(name=name) for name in ("b", "a", "é", "B", "aa", "\U0001f4b9", "￿")))
        assert names(keep) == ["B", "a", "aa", "b", "é", "￿", "\U0001f4b9"]

    def test_logs_by_stream_and_revision(self, keep: Keep) -> None:
        """A log without an order comes stream by stream, each in the order of its revisions."""
        accounts = ["b", "a", "b", "a"]
        log(keep, *(Entry(account=account, number=n) for n, account in enumerate(accounts)))
        assert numbers(keep.table(Entry).scan()) == [1, 3, 0, 2]

    def test_ascending(self, keep: Keep) -> None:
        """An order by a column ascends; ties come by the key."""
        specimens(keep, "integer", a=2, b=-1, c=2, d=10)
        assert names(keep, order=["integer"]) == ["b", "a", "c", "d"]

    def test_descending(self, keep: Keep) -> None:
        """An order by ``-column`` descends; ties come by the key, descending too."""
        specimens(keep, "integer", a=2, b=-1, c=2, d=10)
        assert names(keep, order=["-integer"]) == ["d", "c", "a", "b"]

    def test_two_columns(self, keep: Keep) -> None:
        """An order by several columns takes each in its own direction."""
        rows = [("a", 1, "x"), ("b", 2, "x"), ("c", 1, "y"), ("d", 2, "y")]
        put(keep, *(Specimen(name=n, integer=i, text=t) for n, i, t in rows))
        assert names(keep, order=["-text", "integer"]) == ["c", "d", "a", "b"]

    def test_null_comes_first(self, keep: Keep) -> None:
        """Null comes before everything, and so last in a descending order."""
        specimens(keep, "integer", a=0, b=None, c=-(2**63))
        assert names(keep, order=["integer"]) == ["b", "c", "a"]
        assert names(keep, order=["-integer"]) == ["a", "c", "b"]

    def test_decimals_by_value(self, keep: Keep) -> None:
        """Decimals are ordered and compared as numbers, not as texts."""
        texts = {"a": "10", "b": "9", "c": "-1", "d": "-10", "e": "0.01", "f": "0"}
        specimens(keep, "decimal", **{name: Decimal(text) for name, text in texts.items()})
        assert names(keep, order=["decimal"]) == ["d", "c", "f", "e", "b", "a"]
        assert names(keep, Where("decimal", ">", Decimal("8.999999999999999999999"))) == ["a", "b"]
        assert names(keep, Where("decimal", "==", Decimal("10.0"))) == ["a"]

    def test_reals_with_nan_greatest(self, keep: Keep) -> None:
        """Among floats NaN is the greatest and equals itself; the infinities are where they belong."""
        nan, inf = float("nan"), float("inf")
        specimens(keep, "real", a=nan, b=1.0, c=inf, d=-inf)
        assert names(keep, order=["real"]) == ["d", "b", "c", "a"]
        assert names(keep, Where("real", "==", nan)) == ["a"]
        assert names(keep, Where("real", ">", 1.0)) == ["a", "c"]

    def test_instants(self, keep: Keep) -> None:
        """Instants are ordered and bounded in time, before 1970 too."""
        years = {"a": -60, "b": 0, "c": 30}
        specimens(
            keep, "instant", **{n: FIRST_DAY + timedelta(days=365 * y) for n, y in years.items()}
        )
        assert names(keep, order=["-instant"]) == ["c", "b", "a"]
        assert names(keep, Where("instant", ">=", FIRST_DAY)) == ["b", "c"]

    def test_bounds(self, keep: Keep) -> None:
        """<, <=, > and >= bound as written, and are never true of null."""
        specimens(keep, "integer", a=1, b=2, c=3, d=None)
        found = {op: names(keep, Where("integer", op, 2)) for op in ("<", "<=", ">", ">=")}
        assert found == {"<": ["a"], "<=": ["a", "b"], ">": ["c"], ">=": ["b", "c"]}

    def test_equality_with_null(self, keep: Keep) -> None:
        """== and != take null for a value, and so does ``in``."""
        specimens(keep, "text", a="x", b=None, c="y")
        assert names(keep, Where("text", "==", None)) == ["b"]
        assert names(keep, Where("text", "!=", None)) == ["a", "c"]
        assert names(keep, Where("text", "!=", "x")) == ["b", "c"]
        assert names(keep, Where("text", "in", ["y", None])) == ["b", "c"]

    def test_in(self, keep: Keep) -> None:
        """``in`` is true of any of the given values; of none, it finds nothing."""
        specimens(keep, "integer", a=1, b=2, c=3)
        assert names(keep, Where("integer", "in", [3, 1, 1])) == ["a", "c"]
        assert names(keep, Where("integer", "in", [])) == []
        assert names(keep, Where("name", "in", [f"{n}" for n in range(1500)])) == []

    def test_conditions_are_joined_by_and(self, keep: Keep) -> None:
        """Several conditions must all hold, and the limit counts what they leave."""
        specimens(keep, "integer", a=1, b=2, c=3, d=4)
        two = (Where("integer", ">", 1), Where("name", "!=", "c"))
        assert names(keep, *two) == ["b", "d"]
        assert names(keep, *two, limit=1, order=["-integer"]) == ["d"]

    def test_prefix_is_literal(self, keep: Keep) -> None:
        """``prefix`` takes %, _, * and backslashes as they are, and minds the case."""
        texts = ["a%b", "axb", "a_b", "a*b", "A%b", "a\\b", "a[b]c"]
        put(keep, *(Specimen(name=f"{n}", text=text) for n, text in enumerate(texts)))
        for number, text in enumerate(texts):
            assert names(keep, Where("text", "prefix", text[:3])) == [f"{number}"], text
        assert names(keep, Where("text", "prefix", "a")) == ["0", "1", "2", "3", "5", "6"]

    def test_contains(self, keep: Keep) -> None:
        """``contains`` finds documents that are lists with exactly that element."""
        documents = {"a": ["x", 1], "b": ["xy"], "c": {"x": 1}, "d": "x", "e": ["1", True]}
        specimens(keep, "document", **documents)
        assert names(keep, Where("document", "contains", "x")) == ["a"]
        assert names(keep, Where("document", "contains", 1)) == ["a"]
        assert names(keep, Where("document", "contains", "1")) == ["e"]

    def test_exists(self, keep: Keep) -> None:
        """A condition on another collection finds what has, or has not, records there."""
        put(keep, *(Order(order=name) for name in "abc"))
        put(keep, Leg(order="a", leg=1), Leg(order="b", leg=2))
        there = Leg.collection
        table = keep.table(Order)
        with_legs = Exists(there, on=(("order", "order"),))
        without = Exists(
            there, on=(("order", "order"),), where=(Where("leg", "==", 2),), negate=True
        )
        assert [o.order for o in table.list(with_legs)] == ["a", "b"]
        assert [o.order for o in table.list(without)] == ["a", "c"]

    def test_first_n(self, keep: Keep) -> None:
        """A limit gives the first rows of the order; more than there are gives all; 0 gives none."""
        specimens(keep, "integer", a=3, b=2, c=1)
        found = [names(keep, order=["integer"], limit=limit) for limit in (2, 9, 0)]
        assert found == [["c", "b"], ["c", "b", "a"], []]

    @pytest.mark.requirement("Z-38")
    def test_newest_n_ascending(self, keep: Keep) -> None:
        """The newest N of a log come oldest first (Z-38)."""
        log(keep, *(Entry(number=n) for n in range(6)))
        table = keep.table(Entry)
        assert numbers(table.list(limit=2, take="last")) == [4, 5]
        assert numbers(table.list(limit=9, take="last")) == [0, 1, 2, 3, 4, 5]
        assert numbers(table.list(Where("number", "<", 4), limit=2, take="last")) == [2, 3]

    @pytest.mark.requirement("Z-38")
    def test_newest_n_with_ties(self, keep: Keep) -> None:
        """Of entries with one time, the newest N are those with the highest revisions."""
        log(keep, *(Entry(number=n, happened_at=FIRST_DAY) for n in range(5)))
        log(keep, Entry(number=9, happened_at=FIRST_DAY - timedelta(days=1)))
        found = keep.table(Entry).list(order=["happened_at"], limit=2, take="last")
        assert numbers(found) == [3, 4]

    def test_by_the_stores_stamps(self, keep: Keep) -> None:
        """Revision, created_at and updated_at can be asked and ordered by."""
        log(keep, *(Entry(number=n) for n in range(3)))
        table = keep.table(Entry)
        assert numbers(table.list(order=["-revision"], limit=2)) == [2, 1]
        second = table.fetch("default", "paper", 2).envelope
        assert second is not None
        asked = Where("created_at", ">=", second.created_at), Where("revision", ">=", 2)
        assert numbers(table.list(*asked)) == [1, 2]

    def test_cursor_visits_all(self, keep: Keep) -> None:
        """Reading on from a cursor visits every record once, in every order, through nulls."""
        specimens(keep, "integer", a=1, b=None, c=3, d=2)
        assert self._paged(keep, []) == ["a", "b", "c", "d"]
        assert self._paged(keep, ["integer"]) == ["b", "a", "d", "c"]
        assert self._paged(keep, ["-integer"]) == ["c", "d", "a", "b"]

    def test_cursor_visits_ties(self, keep: Keep) -> None:
        """Reading on from a cursor among ties neither skips nor repeats one."""
        specimens(keep, "integer", **dict.fromkeys("abcdefg", 7))
        assert self._paged(keep, ["integer"]) == [*"abcdefg"]
        assert self._paged(keep, ["-integer"]) == [*"gfedcba"]

    def _paged(self, keep: Keep, order: list[str]) -> list[str]:
        found, after = list[str](), None
        for _ in range(20):
            query = Query(order=tuple(order), limit=2, after=after)
            page, after = keep.table(Specimen).page(query)
            found += [specimen.name for specimen in page]
            if after is None:
                return found
        return found

    def test_cursor_beside_writes(self, keep: Keep) -> None:
        """A cursor stays where it is: what is written behind it is not seen, what comes after is."""
        put(keep, *(Specimen(name=name) for name in "bdf"))
        query = Query(limit=2)
        page, after = keep.table(Specimen).page(query)
        put(keep, Specimen(name="a"), Specimen(name="e"))
        keep.commit(keep.table(Specimen).delete("d"))
        assert [s.name for s in page] == ["b", "d"]
        assert names(keep, limit=9, after=after) == ["e", "f"]
