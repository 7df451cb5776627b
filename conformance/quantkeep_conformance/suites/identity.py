"""Keys, uniqueness and identity: what is one record, and what is another (X-4, X-6, Z-30 ... Z-32)."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from quantkeep import Keep, Where
from quantkeep.errors import AlreadyExists
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.exactness import assert_same
from quantkeep_conformance.records import (
    Charter,
    Coordinate,
    Entry,
    Mode,
    Position,
    Seat,
    Setting,
    Specimen,
)
from quantkeep_conformance.suites.helpers import known, log, numbers, put

LOOKALIKES = (
    "a", "A", "a ", " a", "é", "e\u0301", "a%", "a_", "a*", "ß", "ss", "SS", "1", "01", "1.0",
    "i", "I", "\u0130", "\u0131", "null", "\u00a0", "\ufeffa",
)  # fmt: skip
SEPARATORS = (":", "/", "|", ",", ";", "\x1f", "%3A", "\\", "\\:", "-", "__", "', '", '"')


class Identity(Suite):
    """Two records are one only where their keys are exactly the same."""

    family = "identity"

    def test_put_replaces(self, keep: Keep) -> None:
        """A record put under a key that is stored replaces what was there, and adds nothing."""
        assert put(keep, Specimen(name="x", integer=1, text="old")).added == 1
        assert put(keep, Specimen(name="x", integer=2)).added == 0
        assert_same(known(keep, Specimen(name="x")), Specimen(name="x", integer=2))
        assert keep.table(Specimen).count() == 1

    def test_keys_are_exact(self, keep: Keep) -> None:
        """Keys differ by case, accents, spaces and composition, and are no patterns."""
        put(keep, *(Specimen(name=name, integer=n) for n, name in enumerate(LOOKALIKES)))
        for number, name in enumerate(LOOKALIKES):
            found = keep.table(Specimen).get(name)
            assert found is not None, f"{name!r} was not found"
            assert (found.name, found.integer) == (name, number)

    def test_composite_keys_are_injective(self, keep: Keep) -> None:
        """("a", "b:c") and ("a:b", "c") are two keys, whatever stands between the parts."""
        pairs = [
            pair for s in SEPARATORS for pair in (("a", f"b{s}c"), (f"a{s}b", "c"), (f"a{s}", "b"))
        ]
        put(keep, *(Setting(owner=a, name=b, value=n) for n, (a, b) in enumerate(pairs)))
        for number, pair in enumerate(pairs):
            assert keep.table(Setting).fetch(*pair).value == number, f"{pair} is another's"

    @pytest.mark.requirement("X-4")
    def test_keys_of_every_kind(self, keep: Keep) -> None:
        """Integers, Decimals, booleans, instants, dates and UUIDs can be keys, equal by value."""
        at = datetime(2025, 1, 17, 9, 30, tzinfo=UTC)
        one = Coordinate(
            number=-1, amount=Decimal("1.5"), flag=True, instant=at,
            day=date(2025, 1, 17), token=UUID(int=1),
        )  # fmt: skip
        put(
            keep,
            one,
            one.replace(number=1),
            one.replace(flag=False),
            one.replace(amount=Decimal(2)),
        )
        seoul = at.astimezone(timezone(timedelta(hours=9)))
        found = keep.table(Coordinate).get(-1, Decimal("1.50"), True, seoul, one.day, one.token)
        assert_same(found, one)
        assert keep.table(Coordinate).count() == 4

    @pytest.mark.requirement("Z-30")
    def test_paper_is_not_live(self, keep: Keep) -> None:
        """What differs in mode alone is apart: in keys, streams, reads and deletions."""
        kinds: list[tuple[Mode, int]] = [("paper", 1), ("live", 2)]
        for mode, number in kinds:
            put(keep, Position(mode=mode, symbol="BTC", size=Decimal(number)))
            log(keep, Entry(mode=mode, number=number))
        for mode, number in kinds:
            position = keep.table(Position).fetch("default", mode, "BTC")
            assert (position.mode, position.size) == (mode, Decimal(number))
            assert numbers(keep.table(Entry).list(Where("mode", "==", mode))) == [number]
            assert numbers([keep.table(Entry).fetch("default", mode, 1)]) == [number]
        keep.commit(keep.table(Position).delete("default", "paper", "BTC"))
        assert [p.mode for p in keep.table(Position).scan()] == ["live"]

    def test_accounts_are_apart(self, keep: Keep) -> None:
        """What differs in the account alone is apart."""
        for account, number in (("a", 1), ("b", 2)):
            put(keep, Position(account=account, symbol="BTC", size=Decimal(number)))
            log(keep, Entry(account=account, number=number))
        for account, number in (("a", 1), ("b", 2)):
            assert keep.table(Position).fetch(account, "paper", "BTC").size == number
            assert numbers([keep.table(Entry).fetch(account, "paper", 1)]) == [number]

    @pytest.mark.requirement("X-6")
    def test_unique_is_kept(self, keep: Keep) -> None:
        """A second record with the same unique values is refused, and the first one stays."""
        put(keep, Seat(seat="1", hall="a", number=1), Seat(seat="2", hall="a", number=2))
        with pytest.raises(AlreadyExists):
            put(keep, Seat(seat="3", hall="a", number=1))
        with pytest.raises(AlreadyExists):
            put(keep, Seat(seat="2", hall="a", number=1))
        assert [(s.seat, s.number) for s in keep.table(Seat).scan()] == [("1", 1), ("2", 2)]

    @pytest.mark.requirement("Z-32")
    def test_null_in_unique_is_a_value(self, keep: Keep) -> None:
        """Two records with null in the same unique group collide: null counts as a value (Z-32)."""
        put(keep, Seat(seat="1", hall="a"), Seat(seat="2", number=1))
        for clash in (Seat(seat="3", hall="a"), Seat(seat="3", number=1)):
            with pytest.raises(AlreadyExists):
                put(keep, clash)
        assert keep.table(Seat).count() == 2

    def test_unique_is_freed(self, keep: Keep) -> None:
        """Unique values are free again once their holder has others, or is deleted."""
        put(keep, Seat(seat="1", hall="a", number=1))
        put(keep, Seat(seat="1", hall="a", number=2))
        put(keep, Seat(seat="2", hall="a", number=1))
        keep.commit(keep.table(Seat).delete("2"))
        put(keep, Seat(seat="3", hall="a", number=1))
        assert [s.seat for s in keep.table(Seat).scan()] == ["1", "3"]

    @pytest.mark.requirement("Z-31")
    def test_appended_again_adds_nothing(self, keep: Keep) -> None:
        """Appending an entry whose uid is there, with the same content, adds nothing and says so."""
        first = log(keep, Entry(uid="u", number=1))
        again = log(keep, Entry(uid="u", number=1))
        assert (first.added, again.added) == (1, 0)
        assert again.revisions == first.revisions
        assert numbers(keep.table(Entry).scan()) == [1]

    def test_uid_with_other_content(self, keep: Keep) -> None:
        """The same uid with other content is AlreadyExists, and what is stored stays."""
        log(keep, Entry(uid="u", number=1))
        with pytest.raises(AlreadyExists):
            log(keep, Entry(uid="u", number=2))
        assert numbers(keep.table(Entry).scan()) == [1]

    @pytest.mark.requirement("Z-31")
    def test_no_uid_always_adds(self, keep: Keep) -> None:
        """Entries without a uid are added each time, equal or not: two fills may look the same."""
        for _ in range(3):
            assert log(keep, Entry(number=1)).added == 1
        assert numbers(keep.table(Entry).scan()) == [1, 1, 1]

    def test_uid_is_of_its_stream(self, keep: Keep) -> None:
        """The same uid in another account or mode is another entry."""
        log(keep, Entry(uid="u", number=1))
        assert log(keep, Entry(uid="u", number=2, mode="live")).added == 1
        assert log(keep, Entry(uid="u", number=3, account="other")).added == 1

    def test_immutable_is_kept(self, keep: Keep) -> None:
        """An immutable record put again is left as it is, and refused with other content."""
        first = put(keep, Charter(name="x", text="a"))
        again = put(keep, Charter(name="x", text="a"))
        assert (again.added, again.revisions) == (0, first.revisions)
        with pytest.raises(AlreadyExists):
            put(keep, Charter(name="x", text="b"))
        assert keep.table(Charter).fetch("x").text == "a"

    def test_deleted_is_gone(self, keep: Keep) -> None:
        """A deleted record is gone, the others stay, and deleting it again deletes nothing."""
        put(keep, Specimen(name="x"), Specimen(name="y"))
        table = keep.table(Specimen)
        assert keep.commit(table.delete("x")).added == 1
        assert keep.commit(table.delete("x")).added == 0
        assert table.get("x") is None
        assert [s.name for s in table.scan()] == ["y"]
