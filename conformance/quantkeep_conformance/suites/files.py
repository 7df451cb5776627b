"""Files: cut in the last commit, linked elsewhere, and looked at by others (Z-18)."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantkeep import Capability, Corrupt, Keep, QuantkeepError
from quantkeep_conformance.clauses import Facility, Suite, requires
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import Entry, Setting, Specimen
from quantkeep_conformance.suites.helpers import log, numbers, put


class Files(Suite):
    """What a backend does with its files, and makes of files that were harmed."""

    family = "files"

    @pytest.mark.requirement("Z-18")
    @requires(Capability.PERSISTENT, Facility.VERIFIED_FILES)
    def test_torn_tail(
        self, place: Place, effort: Effort, tmp_path: Path, evidence: dict[str, object]
    ) -> None:
        """Cut in the last commit, at any byte: that commit is there or not, and appending goes on."""
        keep = place.open()
        log(keep, *(Entry(number=n) for n in (1, 2, 3)))
        place.back_up(tmp_path / "before")
        log(keep, Entry(number=4))
        place.back_up(tmp_path / "after")
        keep.close()
        cuts = [*_cuts(tmp_path / "before", tmp_path / "after")]
        assert cuts, "a commit has changed no file"
        draw = effort.random("cuts")
        tried = draw.sample(cuts, min(effort.times(25), len(cuts)))
        refused = 0
        for file, size in tried:
            place.restore(tmp_path / "after")
            os.truncate(place.folder / file, size)
            refused += not _goes_on(place)
        evidence.update(cuts=len(tried), refused=refused, seed=effort.seed)

    @requires(Capability.PERSISTENT, Facility.BACKUP)
    def test_private(self, place: Place) -> None:
        """Nobody but their owner may read or write the files, whatever the umask."""
        with _umask(0), place.open() as keep:
            _filled(keep)
            open_to_all = _open_to_others(place)
            keep.close()
            open_to_all |= _open_to_others(place)
        assert not open_to_all

    @requires(Capability.PERSISTENT, Facility.BACKUP)
    def test_planted_links(self, place: Place, tmp_path: Path) -> None:
        """A symbolic link planted where the backend keeps a file is not written through."""
        with place.open() as keep:
            _filled(keep)
            names = {*place.file_names()}
            keep.close()
        victim = tmp_path / "victim"
        for name in sorted(names | {*place.file_names()}):
            other = place.another()
            victim.write_bytes(b"somebody else's\n")
            link = other.folder / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(victim)
            _try_to_fill(other)
            assert victim.read_bytes() == b"somebody else's\n", f"{name} was written through"


def _cuts(before: Path, after: Path) -> Iterator[tuple[Path, int]]:
    """Each file that a commit has changed, with each size that cuts into the change."""
    for file in sorted(filter(Path.is_file, after.rglob("*"))):
        name = file.relative_to(after)
        old = (before / name).read_bytes() if (before / name).exists() else b""
        new = file.read_bytes()
        if old != new:
            same = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
            start = min(len(old), len(new)) if same is None else same
            yield from ((name, size) for size in range(start, len(new)))


def _goes_on(place: Place) -> bool:
    """Whether the keep can be used: then what it had is there, and it takes more."""
    try:
        with place.open() as keep:
            found = numbers(keep.table(Entry).scan())
            log(keep, Entry(number=5))
    except Corrupt:
        return False
    assert found in ([1, 2, 3], [1, 2, 3, 4]), f"{found} is neither before nor after the commit"
    with place.open() as keep:
        entries = keep.table(Entry).list()
    assert numbers(entries) == [*found, 5], "what was appended to a repaired keep is not there"
    assert [entry.revision for entry in entries] == [*range(1, len(found) + 2)]
    return True


def _filled(keep: Keep) -> None:
    """Some of everything."""
    put(keep, *(Specimen(name=f"{number}") for number in range(8)))
    log(keep, *(Entry(number=number) for number in range(8)))
    keep.commit(keep.table(Setting).put(Setting(owner="a", name="x")), op_id="op")
    keep.backend.put_blob("aa", b"blob" * 100)


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _open_to_others(place: Place) -> set[str]:
    return {
        f"{name} has mode {stat.S_IMODE(mode):o}"
        for name in place.file_names()
        if (mode := (place.folder / name).stat().st_mode) & 0o077
    }


def _try_to_fill(place: Place) -> None:
    try:
        with place.open() as keep:
            _filled(keep)
    except QuantkeepError:
        return
