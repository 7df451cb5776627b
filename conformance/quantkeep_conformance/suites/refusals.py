"""What cannot be stored exactly on every engine is refused everywhere, before anything is written."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from quantkeep import InvalidValue, Keep, Query, Where
from quantkeep.documents import MAX_BYTES
from quantkeep.errors import InvalidQuery, TooLarge
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.records import Complete, Entry, Order, Specimen
from quantkeep_conformance.suites.helpers import put


def refused(keep: Keep, column: str, *values: Any) -> None:
    """Each of *values* is refused with the record's and the column's name, and nothing is written."""
    for value in values:
        with pytest.raises(InvalidValue) as caught:
            put(keep, Specimen(name="good"), Specimen(name="bad", **{column: value}))
        assert caught.value.record == "Specimen"
        assert (caught.value.field or "").startswith(column), caught.value.field
        assert caught.value.applied == "no"
    assert keep.table(Specimen).list() == []


class Refusals(Suite):
    """Values, keys and queries that no engine must be given."""

    family = "refusals"

    def test_nul(self, keep: Keep) -> None:
        """NUL in a text or a document is refused."""
        refused(keep, "text", "a\0b")
        refused(keep, "document", {"a": ["b\0"]}, {"\0": 1})

    def test_lone_surrogates(self, keep: Keep) -> None:
        """Lone surrogates, which are no text, are refused."""
        refused(keep, "text", "\ud800", "ok \udfff")
        refused(keep, "document", ["\ud83d"])

    def test_integers_beyond_64_bits(self, keep: Keep) -> None:
        """Integers beyond 64 bits are refused, in columns and in documents."""
        refused(keep, "integer", 2**63, -(2**63) - 1, 10**30)
        refused(keep, "document", [2**63])

    @pytest.mark.requirement("X-2")
    def test_naive_instants(self, keep: Keep) -> None:
        """A datetime without a zone says no instant, and is refused."""
        refused(keep, "instant", datetime(2025, 1, 17))  # noqa: DTZ001  # the point
        refused(keep, "document", {"at": datetime(2025, 1, 17)})  # noqa: DTZ001  # the point

    @pytest.mark.requirement("X-1")
    def test_decimals_that_do_not_fit(self, keep: Keep) -> None:
        """Decimals with more digits than declared, and NaN or infinite ones, are refused."""
        refused(keep, "price", Decimal("0.000000001"), Decimal(10) ** 12, Decimal("NaN"))
        refused(keep, "decimal", Decimal(10) ** 20, Decimal("1e-19"), Decimal("Infinity"))

    def test_wrong_types(self, keep: Keep) -> None:
        """A value of another type is refused, not converted: no text for a number, no 1 for True."""
        refused(keep, "integer", "1", 1.0, True)
        refused(keep, "text", 1, b"x")
        refused(keep, "flag", 1)
        refused(keep, "decimal", 0.1, 1)
        refused(keep, "blob", "x")

    @pytest.mark.requirement("X-5")
    def test_choices(self, keep: Keep) -> None:
        """A value that an enumeration does not have is refused."""
        with pytest.raises(InvalidValue, match="status"):
            put(keep, Order(order="1", status="unheard of"))
        with pytest.raises(InvalidValue, match="mode"):
            keep.table(Entry).append([Entry(mode="LIVE")])  # type: ignore[arg-type]  # the point
        assert keep.table(Order).list() == []

    @pytest.mark.requirement("Z-20")
    def test_missing_fields(self, keep: Keep) -> None:
        """A record without a required field is refused, and the field is named."""
        with pytest.raises(InvalidValue, match="integer"):
            Complete(name="x", text="y")  # type: ignore[call-arg]  # the point

    def test_live_objects(self, keep: Keep) -> None:
        """An object nobody registered is refused with the path to it, before any write."""
        with pytest.raises(InvalidValue) as caught:
            put(keep, Specimen(name="x", document={"positions": [{"order": object()}]}))
        assert caught.value.field == "document.positions[0].order"
        assert keep.table(Specimen).list() == []

    def test_documents_over_the_limit(self, keep: Keep) -> None:
        """A document one byte over the declared limit is refused."""
        with pytest.raises(TooLarge):
            put(keep, Specimen(name="x", document="x" * (MAX_BYTES - 1)))
        assert keep.table(Specimen).list() == []

    def test_queries(self, keep: Keep) -> None:
        """A query for what a collection does not have is refused, not answered with nothing."""
        table = keep.table(Specimen)
        for wrong in (Query(where=(Where("nope", "==", 1),)), Query(order=("nope",))):
            with pytest.raises(InvalidQuery):
                [*table.scan(wrong)]
        with pytest.raises(InvalidQuery):
            table.list(limit=-1)
        with pytest.raises(InvalidValue):
            table.list(Where("integer", "==", "1"))

    def test_operation_ids(self, keep: Keep) -> None:
        """An operation id that no engine could hold is refused."""
        write = keep.table(Specimen).put(Specimen(name="x"))
        for wrong in ("", "a\0b", "x" * 2000, "\ud800"):
            with pytest.raises(ValueError):
                keep.commit(write, op_id=wrong)
        assert keep.table(Specimen).list() == []
