"""Corruption: a flipped bit is an error, never a silent wrong answer, never "not found"."""

from typing import Any

import pytest

from quantkeep import Capability, Corrupt, Keep, QuantkeepError, Record
from quantkeep_conformance.clauses import Facility, Suite, requires
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.exactness import differences
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import Complete, Entry, Specimen
from quantkeep_conformance.samples import populated
from quantkeep_conformance.suites.helpers import log, put

COLUMNS = tuple(column.name for column in Specimen.collection.columns if column.name != "name")


def specimen(number: int) -> Specimen:
    """A specimen in which nothing is null."""
    made = populated(Specimen, number, name=f"{number:04}")
    assert isinstance(made, Specimen)
    return made


class Corruption(Suite):
    """Stored bytes are changed behind the backend's back."""

    family = "corruption"

    @pytest.mark.requirement("Z-6")
    @requires(Facility.BACKDOOR)
    def test_changed_column_is_detected(self, keep: Keep) -> None:
        """A changed byte in a column of any kind is Corrupt when the record is read by its key."""
        table = keep.table(Specimen)
        for number, column in enumerate(COLUMNS):
            put(keep, specimen(number))
            keep.backend.backdoor().flip(table.collection, (f"{number:04}",), column)
            with pytest.raises(Corrupt) as caught:
                table.get(f"{number:04}")
            assert caught.value.locator, "the error does not say where"

    @pytest.mark.requirement("Z-6")
    @requires(Facility.BACKDOOR)
    def test_scans_detect_it(self, keep: Keep) -> None:
        """A scan that meets a changed record is Corrupt, and does not pass over it."""
        log(keep, *(Entry(number=n, symbol="x") for n in range(3)))
        table = keep.table(Entry)
        keep.backend.backdoor().flip(table.collection, ("default", "paper", 2), "number")
        with pytest.raises(Corrupt):
            table.list()
        assert table.fetch("default", "paper", 1).number == 0

    @pytest.mark.requirement("Z-6")
    @requires(Facility.BACKDOOR)
    def test_flips_are_never_silent(
        self, keep: Keep, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """Of many flips in random places, none gives a wrong answer without an error."""
        draw, count = effort.random("flips"), effort.times(60)
        wanted: dict[str, Record] = {}
        for number in range(count):
            kind = draw.choice((Specimen, Complete))
            made = populated(kind, number, name=f"{number:04}")
            wanted[f"{number:04}"] = made
            put(keep, made)
            column = draw.choice([c for c in kind.collection.columns if c.name != "name"])
            keep.backend.backdoor().flip(kind.collection, (f"{number:04}",), column.name)
        silent = [name for name, made in wanted.items() if self._silent(keep, made, name)]
        evidence.update(flips=count, silent=len(silent), seed=effort.seed)
        assert not silent, f"{len(silent)} of {count} flips gave a wrong answer: {silent[:5]}"

    def _silent(self, keep: Keep, wanted: Record, name: str) -> bool:
        try:
            found = keep.table(type(wanted)).get(name)
        except Corrupt:
            return False
        return found is None or bool(differences(found, wanted))

    @requires(Facility.BACKDOOR)
    def test_replaying_over_it(self, keep: Keep) -> None:
        """Good records beside a changed one are read and written as before."""
        put(keep, specimen(1), specimen(2))
        keep.backend.backdoor().flip(Specimen.collection, ("0001",), "text")
        assert keep.table(Specimen).get("0002") is not None
        put(keep, specimen(1))
        assert keep.table(Specimen).get("0001") is not None

    @requires(Facility.BACKDOOR, Capability.PERSISTENT)
    def test_still_detected_when_reopened(self, place: Place) -> None:
        """A changed byte is detected after the keep was closed and opened, or it cannot be opened."""
        with place.open() as keep:
            put(keep, specimen(1))
            keep.backend.backdoor().flip(Specimen.collection, ("0001",), "decimal")
        with pytest.raises(Corrupt):
            _read(place, "0001")

    @pytest.mark.requirement("Z-6", "Z-10")
    @requires(Facility.BACKDOOR, Capability.PERSISTENT)
    def test_changed_receipt_is_detected(self, place: Place) -> None:
        """A changed receipt is Corrupt when it is asked for, and when its batch is committed again."""
        _damage_receipt(place)
        for ask in (lambda keep: keep.resolve("op 1"), lambda keep: _commit(keep, 1)):
            with pytest.raises(Corrupt) as caught, place.open() as keep:
                ask(keep)
            assert caught.value.locator, "the error does not say where"

    @pytest.mark.requirement("Z-6", "Z-10")
    @requires(Facility.BACKDOOR, Capability.PERSISTENT)
    def test_changed_receipt_is_found(self, place: Place) -> None:
        """The engine's own integrity check names the operation whose receipt was changed."""
        _damage_receipt(place)
        try:
            with place.open() as keep:
                problems = keep.backend.check()
        except Corrupt as error:
            problems = [str(error)]
        assert problems, "nothing was found"
        assert any("'op 1'" in line for line in problems), problems
        assert not any("'op 2'" in line for line in problems), problems

    @requires(Capability.PERSISTENT, Facility.BACKDOOR)
    def test_whole_and_sound(self, place: Place) -> None:
        """The engine's own integrity check finds nothing wrong with a keep that is sound."""
        with place.open() as keep:
            put(keep, specimen(1))
            _commit(keep, 1)
            assert not keep.backend.check()


def _commit(keep: Keep, number: int) -> None:
    keep.commit(keep.table(Entry).append([Entry(number=number)]), op_id=f"op {number}")


def _damage_receipt(place: Place) -> None:
    """Of the first of two operations."""
    with place.open() as keep:
        _commit(keep, 1)
        _commit(keep, 2)
        keep.backend.backdoor().flip_receipt("op 1")


def _read(place: Place, name: str) -> Any:
    try:
        with place.open() as keep:
            return keep.table(Specimen).get(name)
    except Corrupt:
        raise
    except QuantkeepError as error:
        raise AssertionError(f"damage was reported as {error!r}") from error
