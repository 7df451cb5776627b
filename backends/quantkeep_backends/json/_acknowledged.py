"""How many commits were acknowledged, and what they touched, beside the journal.

A journal that ends early looks like one that was never longer. What is said here is written after
the commit was synced, and not synced itself: after a power cut it may be behind, and never ahead.
Where it is missing or damaged, nothing is known.
"""

import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from quantkeep_backends._files import durable

NAME: Final = "acknowledged"
_text: Final = json.encoder.encode_basestring  # with its quotes
_LINE: Final = re.compile(rb"([0-9a-f]{8}) (.*)\n")
_OF_FORMAT_1: Final = re.compile(rb"([0-9]{20}) ([0-9a-f]{8})\n")


@attrs.define
class Count:
    """What was acknowledged of a journal.

    Attributes:
        number: of the last commit.
        since: the commit before the journal's first; ``None``: what was touched is not known.
        touched: the last commit that touched each collection, or that had an operation id.
    """

    number: int = 0
    since: int | None = None
    touched: dict[str, int] = attrs.field(factory=dict)

    def add(self, number: int, names: Iterable[str]) -> None:
        """Count commit *number*, which touched *names*."""
        self.number = number
        for name in names:
            self.touched[name] = number

    def may_have_touched(self, first: int, last: int) -> frozenset[str]:
        """What commits *first* to *last* touched, and maybe more; empty: that is not known."""
        if self.since is None or not self.since < first <= last <= self.number:
            return frozenset()
        return frozenset(name for name, number in self.touched.items() if number >= first)

    def line(self) -> bytes:
        """All of it, behind its checksum."""
        touched = ",".join([f"{_text(name)}:{number}" for name, number in self.touched.items()])
        text = f'{{"n":{self.number},"since":{self.since},"touched":{{{touched}}}}}'
        data = text.encode()
        return b"%08x %s\n" % (zlib.crc32(data), data)


class Acknowledged:
    """The file, held open by who writes it."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with durable.told(str(folder / NAME)):
            self._descriptor = os.open(folder / NAME, flags, durable.FILE_MODE)

    def write(self, count: Count) -> None:
        """Say what was acknowledged; it was, whether this succeeds or not."""
        with suppress(OSError):
            os.pwrite(self._descriptor, count.line(), 0)  # what was longer ends behind a line feed

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def read(folder: Path) -> Count:
    """What is known to have been acknowledged."""
    data = durable.read(folder / NAME) or b""
    old, found = _OF_FORMAT_1.match(data), _LINE.match(data)
    if old and zlib.crc32(old[1]) == int(old[2], 16):
        return Count(int(old[1]))
    if found and zlib.crc32(found[2]) == int(found[1], 16):
        said: Mapping[str, Any] = json.loads(found[2])
        return Count(said["n"], said["since"], said["touched"])
    return Count()
