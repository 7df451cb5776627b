"""How many commits were acknowledged, beside the journal: one that was cut short is noticed.

A journal that ends early looks like one that was never longer. The number is written after the
commit was synced, and not synced itself: after a power cut it may be behind, and never ahead. Where
it is missing or damaged, nothing is known.
"""

import os
import re
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final

from quantkeep_backends._files import durable

NAME: Final = "acknowledged"
_TEXT: Final = re.compile(rb"([0-9]{20}) ([0-9a-f]{8})\n")


class Acknowledged:
    """The file, held open by who writes it."""

    def __init__(self, folder: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with durable.told(str(folder / NAME)):
            self._descriptor = os.open(folder / NAME, flags, durable.FILE_MODE)

    def write(self, number: int) -> None:
        """Say that commit *number* was acknowledged; it was, whether this succeeds or not."""
        said = b"%020d" % number
        with suppress(OSError):
            os.pwrite(self._descriptor, b"%s %08x\n" % (said, zlib.crc32(said)), 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def read(folder: Path) -> int:
    """The number of the last commit that is known to have been acknowledged; 0: none is."""
    found = _TEXT.fullmatch(durable.read(folder / NAME) or b"")
    return int(found[1]) if found and zlib.crc32(found[1]) == int(found[2], 16) else 0
