"""Harm to the files of a keep: one of them flipped, cut or removed, in a place that was drawn."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from random import Random

import attrs

from quantkeep_conformance.ownership import Contents, Stretch


@attrs.frozen
class Harm:
    """What is done to one file.

    Attributes:
        file: by its name in the folder.
        words: what is done, for a message.
        act: does it.
        owner: the collection that alone has records in what is harmed, if that is known.
    """

    file: Path
    words: str
    act: Callable[[Path], None]
    owner: str = ""

    def do(self, folder: Path) -> None:
        """Harm the file in *folder*."""
        self.act(folder / self.file)

    def __str__(self) -> str:
        return f"{self.words} {self.file}" + (f" (of {self.owner})" if self.owner else "")


def flipped_anywhere(contents: Contents, draw: Random, times: int) -> Iterator[Harm]:
    """Single bits: by turns in any byte of all files, and in any file, for many are small."""
    files = [file for file, data in contents.items() if data]
    sizes = [len(contents[file]) for file in files]
    for number in range(times):
        (file,) = draw.choices(files, sizes if number % 2 else None)
        yield Harm(file, *_flip(draw, range(len(contents[file]))))


def cut_anywhere(contents: Contents, draw: Random, times: int) -> Iterator[Harm]:
    """Cuts; each file is as likely as any other, and may be emptied unless it is all there is."""
    files = [file for file, data in contents.items() if data]
    for file in draw.choices(files, k=times):
        yield Harm(file, *_cut(draw, range(len(files) == 1, len(contents[file]))))


def to_stretches(owned: Sequence[Stretch], draw: Random, times: int) -> Iterator[Harm]:
    """A bit of one of *owned*; where that is a whole file, it may be cut or lost as well.

    Each collection's part of each folder has its turn: there may be many files in some that are
    kept for a while only.
    """
    parts: dict[tuple[str, Path], list[Stretch]] = defaultdict(list)
    for stretch in owned:
        parts[stretch.owner, stretch.file.parent].append(stretch)
    for part in islice(cycle(draw.sample([*parts.values()], len(parts))), times):
        stretch = draw.choice(part)
        way = draw.choice((_flip, _cut, _remove)) if stretch.whole else _flip
        yield Harm(stretch.file, *way(draw, range(stretch.start, stretch.end)), stretch.owner)


Harmed = tuple[str, Callable[[Path], None]]


def _flip(draw: Random, within: range) -> Harmed:
    where, bit = draw.choice(within), draw.randrange(8)

    def flip(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.seek(where)
            (byte,) = opened.read(1)
            opened.seek(where)
            opened.write(bytes([byte ^ 1 << bit]))

    return f"bit {bit} of byte {where} flipped in", flip


def _cut(draw: Random, within: range) -> Harmed:
    size = draw.choice(within)
    return f"all behind byte {size} cut from", lambda file: os.truncate(file, size)


def _remove(_draw: Random, _within: range) -> Harmed:
    return "removed:", Path.unlink
