"""Exact values: what comes back equals what went in, type included (X-1 ... X-5)."""

import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from quantkeep import Keep
from quantkeep.documents import MAX_BYTES
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.exactness import assert_same
from quantkeep_conformance.records import Specimen
from quantkeep_conformance.strategies import HARD_INTEGERS, HARD_TEXTS
from quantkeep_conformance.suites.helpers import comes_back, known, put

DOCUMENTS: tuple[Any, ...] = (
    {"b": 1, "a": [True, None, "x", {"deep": [[]]}]},
    [1, 1.0, "1", True, None],
    {"int": 2**53 + 1, "huge": 1e300, "nan": float("nan"), "minus zero": -0.0},
    {"money": Decimal("1.500"), "at": datetime(2025, 1, 17, 9, 30, 0, 123456, tzinfo=UTC)},
    {"day": date(2025, 1, 17), "id": UUID(int=7), "bytes": b"\x00\xff", "pair": (1, (2, 3))},
    {"": None, "$decimal": "not one", "é\u2028": "e\u0301"},
    {"None": None},
    {"text": "text"},
    "text",
    1.5,
)


def nan(bits: str) -> float:
    """The NaN with these bits."""
    number: float = struct.unpack(">d", bytes.fromhex(bits))[0]
    return number


class Values(Suite):
    """One column at a time, with the values that engines are known to change."""

    family = "values"

    def test_text(self, keep: Keep) -> None:
        """Text comes back code point for code point: spaces, case, accents, quotes, emoji."""
        comes_back(keep, "text", [text for text in HARD_TEXTS if text])

    def test_long_text(self, keep: Keep) -> None:
        """A text of a million characters comes back whole."""
        comes_back(keep, "text", ["x€" * 500_000])

    @pytest.mark.requirement("X-3")
    def test_empty_is_not_null(self, keep: Keep) -> None:
        """The empty text, no bytes, an empty document, zero and false are not null."""
        specimens = [Specimen(name="columns", text="", blob=b"", integer=0, flag=False)]
        for number, empty in enumerate(({}, [], "", 0, False)):
            specimens.append(Specimen(name=f"document {number}", document=empty))
        for specimen in specimens:
            put(keep, specimen)
            assert_same(known(keep, specimen), specimen)

    @pytest.mark.requirement("X-3")
    def test_null(self, keep: Keep) -> None:
        """None comes back as None from a column of every kind."""
        comes_back(keep, "text", [None])

    def test_integers(self, keep: Keep) -> None:
        """Integers are exact to the ends of 64 bits, and beyond what a float can hold."""
        comes_back(keep, "integer", HARD_INTEGERS)

    @pytest.mark.requirement("X-1")
    def test_reals(self, keep: Keep) -> None:
        """Finite floats come back bit for bit, from the smallest to the greatest."""
        values = [0.1, -0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22]
        comes_back(keep, "real", [*values, 1.0, 2.0**53, 123456789.123456789])

    @pytest.mark.requirement("X-3")
    def test_nan(self, keep: Keep) -> None:
        """NaN comes back as NaN, whatever its sign and payload, and never as null."""
        bits = ["7ff8000000000000", "fff8000000000000", "7ff8000000000001"]
        comes_back(keep, "real", [nan(pattern) for pattern in bits])

    @pytest.mark.requirement("X-3")
    def test_infinities(self, keep: Keep) -> None:
        """Both infinities come back."""
        comes_back(keep, "real", [float("inf"), float("-inf")])

    def test_negative_zero(self, keep: Keep) -> None:
        """The sign of -0.0 comes back."""
        comes_back(keep, "real", [-0.0])

    @pytest.mark.requirement("X-1")
    def test_decimals(self, keep: Keep) -> None:
        """Decimals are never rounded and never pass through a float."""
        texts = ["0.1", "-0.1", "0.00000402", "0.000000000000000001", "57.638", "9" * 20, "0"]
        widest = "12345678901234567890.123456789012345678"
        comes_back(keep, "decimal", [Decimal(text) for text in (*texts, widest, "-" + widest)])
        assert known(keep, Specimen(name="0001")) != known(keep, Specimen(name="0000"))

    @pytest.mark.requirement("Z-5")
    def test_decimals_equal_by_value(self, keep: Keep) -> None:
        """1.50, 1.5 and 15E-1 are one value, and come back as a Decimal."""
        comes_back(keep, "price", [Decimal("1.50"), Decimal("15E-1"), Decimal("1E+3")])

    def test_booleans(self, keep: Keep) -> None:
        """True and False come back as booleans, not as 1 and 0."""
        comes_back(keep, "flag", [True, False])

    @pytest.mark.requirement("X-2")
    def test_microseconds(self, keep: Keep) -> None:
        """Instants keep their microseconds."""
        start = datetime(2025, 1, 17, 9, 30, tzinfo=UTC)
        comes_back(
            keep, "instant", [start + timedelta(microseconds=n) for n in (1, 999_999, 123_456)]
        )

    @pytest.mark.requirement("X-2")
    def test_instants(self, keep: Keep) -> None:
        """Instants from the year 1 to 9999 come back, aware and in UTC."""
        years = [1, 1582, 1900, 1969, 1970, 2000, 2038, 9999]
        comes_back(keep, "instant", [datetime(year, 12, 31, tzinfo=UTC) for year in years])
        found = known(keep, Specimen(name="0000"))
        assert found is not None
        assert found.instant is not None
        assert found.instant.utcoffset() == timedelta(0)

    @pytest.mark.requirement("X-2")
    def test_zones(self, keep: Keep) -> None:
        """An instant given in any zone is the same instant, through both folds of a clock change."""
        seoul = datetime(2025, 1, 17, 9, 30, tzinfo=timezone(timedelta(hours=9)))
        berlin = datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
        comes_back(keep, "instant", [seoul, berlin, berlin.replace(fold=1)])

    @pytest.mark.requirement("X-2")
    def test_days(self, keep: Keep) -> None:
        """Dates come back as dates."""
        comes_back(keep, "day", [date.min, date(1969, 12, 31), date(2024, 2, 29), date.max])

    def test_uuids(self, keep: Keep) -> None:
        """UUIDs come back as UUIDs."""
        comes_back(keep, "token", [UUID(int=0), UUID(int=2**128 - 1), UUID(int=0xABCDEF << 96)])

    def test_bytes(self, keep: Keep) -> None:
        """Bytes come back as bytes, all 256 of them, whether or not they are text."""
        comes_back(keep, "blob", [bytes(range(256)), b"\x00", b"text", b"\xff\xfe", b"'; --"])

    @pytest.mark.requirement("X-3", "Z-4")
    def test_documents(self, keep: Keep) -> None:
        """Documents come back type for type: ints, floats, Decimals, instants, bytes, tuples."""
        comes_back(keep, "document", DOCUMENTS)

    def test_largest_document(self, keep: Keep) -> None:
        """A document of exactly the declared limit is taken, and comes back."""
        comes_back(keep, "document", ["x" * (MAX_BYTES - 2)])
