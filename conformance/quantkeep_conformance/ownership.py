"""Whose bytes those of a keep's files are, learned from what commits add to them.

Nothing is known of a backend but its files: they are looked at after each turn, in which records
of one collection alone were committed. What is in a file at the end, and was first there after a
turn, holds nothing that was committed later, and nothing that was committed before.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import attrs

Contents = Mapping[Path, bytes]


@attrs.frozen
class Turn:
    """What was committed, and the files after it.

    Attributes:
        owner: the collection.
        contents: of the files, by their names.
    """

    owner: str
    contents: Contents


@attrs.frozen
class Stretch:
    """Bytes of a file that hold records of one collection alone.

    Attributes:
        owner: the collection.
        file: by its name in the folder.
        start: the first of the bytes.
        end: the one behind the last.
        whole: whether the file has no others.
    """

    owner: str
    file: Path
    start: int
    end: int
    whole: bool

    def __str__(self) -> str:
        part = "" if self.whole else f"bytes {self.start} to {self.end} of "
        return f"{part}{self.file}, with {self.owner} alone"


def contents_of(folder: Path) -> Contents:
    """What is in the files under *folder*."""
    files = sorted(filter(Path.is_file, folder.rglob("*")))
    return {file.relative_to(folder): file.read_bytes() for file in files}


def stretches(turns: Sequence[Turn]) -> Iterator[Stretch]:
    """What came in each turn but the first and the last, and is there after the last.

    The first is for what is common to all; in the last, files are rewritten that each commit
    rewrites, so that they pass for nobody's.
    """
    for file, data in turns[-1].contents.items():
        had = accumulate((_had(data, file, turn.contents) for turn in turns[:-1]), max)
        for turn, (start, end) in zip(turns[1:-1], pairwise(had), strict=True):
            if start < end:
                yield Stretch(turn.owner, file, start, end, end - start == len(data))


def _had(data: bytes, file: Path, contents: Contents) -> int:
    """How much of *data* was there: all of it, under any name, or what *file* has grown from."""
    if data in contents.values():
        return len(data)
    before = contents.get(file, b"")
    return len(before) if data.startswith(before) else 0
