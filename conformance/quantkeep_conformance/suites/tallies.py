"""Tallies: counts, sums and means, exact and grouped (what dashboards and statistics ask)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from quantkeep import Keep, Measure, Per, Tally, Where
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.records import Specimen
from quantkeep_conformance.suites.helpers import put


def tallied(keep: Keep, *measures: Measure, **asked: Any) -> list[tuple[Any, ...]]:
    """The answer to a tally of the specimens."""
    return keep.table(Specimen).tally(Tally(measures=measures or (Measure("count"),), **asked))


class Tallies(Suite):
    """What ``Tally`` means, asked of the engine."""

    family = "tallies"

    def test_count(self, keep: Keep) -> None:
        """Counts rows, or the values of a column that are not null."""
        put(keep, Specimen(name="a", integer=1), Specimen(name="b"))
        assert tallied(keep) == [(2,)]
        assert tallied(keep, Measure("count"), Measure("count", "integer")) == [(2, 1)]
        assert tallied(keep, where=(Where("name", "==", "a"),)) == [(1,)]

    def test_nothing(self, keep: Keep) -> None:
        """Over no rows there is one group: a count of 0, and None for all else."""
        found = tallied(
            keep, Measure("count"), Measure("sum", "decimal"), Measure("max", "integer")
        )
        assert found == [(0, None, None)]
        assert tallied(keep, by=("text",)) == []

    def test_decimals_are_exact(self, keep: Keep) -> None:
        """Sums of Decimals are exact Decimals, and means are theirs at 38 digits."""
        texts = ["0.1", "0.2", "12345678901234567890.01"]
        put(keep, *(Specimen(name=text, decimal=Decimal(text)) for text in texts))
        ((amount, least, greatest),) = tallied(
            keep, Measure("sum", "decimal"), Measure("min", "decimal"), Measure("max", "decimal")
        )
        assert amount == Decimal("12345678901234567890.31")
        assert (least, greatest) == (Decimal("0.1"), Decimal(texts[2]))
        assert isinstance(amount, Decimal)
        keep.commit(keep.table(Specimen).delete(texts[2]))
        assert tallied(keep, Measure("mean", "decimal")) == [(Decimal("0.15"),)]

    def test_integers_are_exact(self, keep: Keep) -> None:
        """Sums of integers are exact, beyond 64 bits too."""
        put(keep, *(Specimen(name=f"{n}", integer=2**62) for n in range(3)))
        assert tallied(keep, Measure("sum", "integer")) == [(3 * 2**62,)]

    def test_floats(self, keep: Keep) -> None:
        """Sums, means and means of magnitudes of floats; nulls take no part."""
        put(keep, *(Specimen(name=f"{n}", real=r) for n, r in enumerate((1.5, -0.5, None))))
        found = tallied(
            keep, Measure("sum", "real"), Measure("mean", "real"), Measure("mean_abs", "real")
        )
        assert found == [pytest.approx((1.0, 0.5, 1.0), rel=1e-9)]

    def test_groups(self, keep: Keep) -> None:
        """Groups come ascending by their values, null first, and null is a group."""
        texts = ["b", "a", None, "b"]
        put(keep, *(Specimen(name=f"{n}", text=t, integer=n) for n, t in enumerate(texts)))
        found = tallied(keep, Measure("count"), Measure("sum", "integer"), by=("text",))
        assert found == [(None, 1, 2), ("a", 1, 1), ("b", 2, 3)]

    def test_ranking(self, keep: Keep) -> None:
        """Groups ranked by a measure, greatest or least first, cut at a limit; ties by the group."""
        put(keep, *(Specimen(name=f"{n}", text=t) for n, t in enumerate("abbccd")))
        best = tallied(keep, by=("text",), order_by=0, limit=3)
        assert best == [("b", 2), ("c", 2), ("a", 1)]
        least = tallied(keep, by=("text",), order_by=0, descending=False, limit=2)
        assert least == [("a", 1), ("d", 1)]

    def test_periods(self, keep: Keep) -> None:
        """Instants and dates group by hour, day, month and year, in UTC."""
        hours = [datetime(2025, 1, 31, 23, 59, tzinfo=UTC), datetime(2025, 2, 1, tzinfo=UTC)]
        put(keep, *(Specimen(name=f"{n}", instant=at, day=at.date()) for n, at in enumerate(hours)))
        found = {
            unit: [group for group, _ in tallied(keep, by=(Per("instant", unit),))]
            for unit in ("hour", "day", "month", "year")
        }
        assert found == {
            "hour": ["2025-01-31T23", "2025-02-01T00"],
            "day": ["2025-01-31", "2025-02-01"],
            "month": ["2025-01", "2025-02"],
            "year": ["2025"],
        }
