"""Damage: files that were flipped, cut or lost say so, and close only what was in them (Z-6, Z-18)."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from quantkeep import Capability, Keep, QuantkeepError, Record
from quantkeep_conformance.clauses import Facility, Suite, requires
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.harm import Harm, cut_anywhere, flipped_anywhere, to_stretches
from quantkeep_conformance.ownership import Contents, Turn, contents_of, stretches
from quantkeep_conformance.places import Place
from quantkeep_conformance.questions import Answers, Question, ask, questions
from quantkeep_conformance.records import Entry, Party, Setting, Specimen
from quantkeep_conformance.samples import populated
from quantkeep_conformance.suites.helpers import compacted, log, put

Evidence = dict[str, object]
Told = tuple[Harm, Answers]


class DamagedFiles(Suite):
    """Files are harmed while nobody has the keep open; then it is opened, and asked everything.

    Each collection, and each record by its key, is asked for by itself, so that one question that
    is refused hides no wrong answer to another.
    """

    family = "files"

    @pytest.mark.requirement("Z-6", "Z-18")
    @requires(Capability.PERSISTENT, Facility.CHECKED_FILES)
    def test_flips_are_never_silent(
        self, place: Place, effort: Effort, tmp_path: Path, evidence: Evidence
    ) -> None:
        """A bit flipped anywhere in the files changes no answer, or is Corrupt and says where."""
        draw, times = effort.random("bits"), effort.times(40)
        told = [*_harmed(place, tmp_path, lambda files: flipped_anywhere(files, draw, times))]
        _report(evidence, effort, "flips", told)
        _assert_told(told)

    @pytest.mark.requirement("Z-6", "Z-18")
    @requires(Capability.PERSISTENT, Facility.VERIFIED_FILES)
    def test_flips_are_found(
        self, place: Place, effort: Effort, tmp_path: Path, evidence: Evidence
    ) -> None:
        """A bit flipped anywhere in the files changes no answer, is Corrupt, or is found by verify."""
        draw, times = effort.random("bits"), effort.times(20)
        told = []
        for harm, answers in _harmed(
            place, tmp_path, lambda files: flipped_anywhere(files, draw, times)
        ):
            told.append((harm, answers.excused() if answers.wrong and _found(place) else answers))
        _report(evidence, effort, "flips", told)
        _assert_told(told)

    @pytest.mark.requirement("Z-6", "Z-18")
    @requires(Capability.PERSISTENT, Facility.VERIFIED_FILES)
    def test_cuts_are_never_silent(
        self, place: Place, effort: Effort, tmp_path: Path, evidence: Evidence
    ) -> None:
        """A file cut anywhere before its last commit changes no answer, or is Corrupt and says where."""
        draw, times = effort.random("cuts"), effort.times(25)
        told = [*_harmed(place, tmp_path, lambda files: cut_anywhere(files, draw, times))]
        _report(evidence, effort, "cuts", told)
        _assert_told(told)

    @pytest.mark.requirement("Z-6", "Z-18")
    @requires(Capability.PERSISTENT, Facility.DIVIDED_FILES)
    def test_the_rest_is_readable(
        self, place: Place, effort: Effort, tmp_path: Path, evidence: Evidence
    ) -> None:
        """Harm to bytes that came with records of one collection leaves all others to be read in full."""
        _divided(place, effort, tmp_path, evidence, lambda keep: None)

    @pytest.mark.requirement("Z-6", "Z-18")
    @requires(Capability.PERSISTENT, Facility.DIVIDED_FILES)
    def test_the_rest_is_readable_once_compacted(
        self, place: Place, effort: Effort, tmp_path: Path, evidence: Evidence
    ) -> None:
        """As the clause above, of files that compaction has made."""
        _divided(place, effort, tmp_path, evidence, compacted)


def _filled(place: Place) -> list[Question]:
    """Questions on some of everything. Of the last commit nothing is asked: it may be torn.

    They are answered by a keep that was opened again: what it has lost, other clauses tell.
    """
    with place.open() as keep:
        put(keep, *(populated(Specimen, number, name=f"{number:03}") for number in range(8)))
        log(keep, *(Entry(number=n, uid=f"{n}", symbol="x" * 50) for n in range(8)))
        for number in range(4):
            setting = keep.table(Setting).put(Setting(owner="a", name="x", value=number))
            keep.commit(setting, op_id=f"op {number}")
        keep.backend.put_blob("aa", b"blob" * 100)
        put(keep, Party(party="last"))
    with place.open() as keep:
        op_ids = [f"op {number}" for number in range(4)]
        return questions(keep, Specimen, Entry, Setting, op_ids=op_ids)


def _harmed(
    place: Place, tmp_path: Path, harms: Callable[[Contents], Iterator[Harm]]
) -> Iterator[Told]:
    """Every question, put to a keep with some of everything after each of *harms* to its files."""
    asked = _filled(place)
    place.back_up(sound := tmp_path / "sound")
    return _told(place, sound, asked, harms(contents_of(sound)))


def _told(
    place: Place, sound: Path, asked: Sequence[Question], harms: Iterator[Harm]
) -> Iterator[Told]:
    """Every question, put to the *sound* files after each of *harms*; read-only every other time."""
    for number, harm in enumerate(harms):
        place.restore(sound)
        harm.do(place.folder)
        yield harm, ask(place, asked, harm.file, read_only=number % 2 == 1)


def _found(place: Place) -> bool:
    """Whether the engine's own check, which verify asks for, says that something is wrong."""
    try:
        with place.open() as keep:
            return bool(keep.backend.check())
    except QuantkeepError:
        return True


def _report(evidence: Evidence, effort: Effort, what: str, told: Sequence[Told]) -> None:
    noticed = sum(bool(answers.closed) for _, answers in told)
    silent = sum(bool(answers.wrong) for _, answers in told)
    evidence.update({what: len(told)}, noticed=noticed, silent=silent, seed=effort.seed)


def _assert_told(told: Sequence[Told]) -> None:
    """Fail where an answer was wrong, or an error was not one of damage."""
    silent = [f"{harm}: {answers.wrong[0]}" for harm, answers in told if answers.wrong]
    assert not silent, f"{len(silent)} of {len(told)} gave a wrong answer: {silent[:3]}"
    unfit = [f"{harm}: {answers.unfit[0]}" for harm, answers in told if answers.unfit]
    assert not unfit, f"{len(unfit)} of {len(told)} were not told as damage: {unfit[:3]}"


# -- the rest ------------------------------------------------------------------------------------


def _divided(
    place: Place,
    effort: Effort,
    tmp_path: Path,
    evidence: Evidence,
    after_each: Callable[[Keep], None],
) -> None:
    asked, turns = _in_turns(place, after_each)
    owned = [*stretches(turns)]
    owners = {stretch.owner for stretch in owned}
    lacking = sorted({turn.owner for turn in turns[1:-1]} - owners)
    assert not lacking, f"no bytes of the files are of {lacking} alone: see 'damage_spreads'"
    place.back_up(sound := tmp_path / "sound")
    harms = to_stretches(owned, effort.random("harms"), effort.times(30))
    told = [*_told(place, sound, asked, harms)]
    _report(evidence, effort, "harms", told)
    _assert_told(told)
    _assert_divided(told)


def _in_turns(
    place: Place, after_each: Callable[[Keep], None]
) -> tuple[list[Question], list[Turn]]:
    """Commits to one collection after another, twice, amid those to a fourth."""
    kinds: tuple[type[Record], ...] = (Party, *(Specimen, Entry, Setting) * 2, Party)
    turns = []
    with place.open() as keep:
        for number, kind in enumerate(kinds):
            for part in range(2):
                _commit(keep, kind, 10 * number + part)
            after_each(keep)
            turns.append(Turn(kind.collection.name, contents_of(place.folder)))
    with place.open() as keep:
        asked = questions(keep, Party, Specimen, Entry, Setting)
    return asked, [*turns[:-1], Turn(turns[-1].owner, contents_of(place.folder))]


def _commit(keep: Keep, kind: type[Record], number: int) -> None:
    if kind is Entry:
        log(keep, Entry(number=number, uid=f"{number}", symbol="x" * 50))
    elif kind is Setting:
        put(keep, Setting(owner="a", name=f"{number}", value=number))
    elif kind is Specimen:
        put(keep, populated(Specimen, number, name=f"{number:03}"))
    else:
        put(keep, Party(party=f"{number}"))


def _assert_divided(told: Sequence[Told]) -> None:
    """Fail where harm to what one collection owns has closed another."""
    spread = [
        f"{harm} closed {name}: {error}"
        for harm, answers in told
        for name, error in answers.closed.items()
        if name != harm.owner
    ]
    assert not spread, f"what was not touched cannot be read: {spread[:3]}"
