"""What a keep says of itself, with a checksum behind it: SQLite has none of its pages."""

from pathlib import Path
from zlib import crc32

from quantkeep.errors import Corrupt


def sealed(text: str, beside: bytes = b"") -> str:
    """JSON as it is stored: behind it the CRC-32 of it, and of what is stored *beside* it."""
    return f"{text} {crc32(text.encode(), crc32(beside)):08x}"


def unsealed(stored: str, path: Path, what: str, beside: bytes = b"") -> str:
    """The JSON that was stored in *path*; raises :class:`Corrupt` if it is not as it was."""
    text = stored.rpartition(" ")[0]
    if stored == sealed(text, beside):
        return text
    if stored.endswith("}"):
        return stored  # from before there were seals
    raise Corrupt(
        f"{path}: {what} does not match its checksum: it was changed outside quantkeep; run "
        "`quantkeep verify`, and restore the file from a backup",
        locator=str(path),
    )
