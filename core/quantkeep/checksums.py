"""Checksums within texts: what a keep says of itself is noticed to have been changed.

The first member of such a text, a JSON object, is ``check``: an algorithm, and eight digits of what
it makes of the text without that member, followed by what is stored beside it. quantkeep takes
CRC-32; an engine that writes such a text itself takes what it has. Texts without the member are of
a keep that was made before there were any.
"""

import json
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from hashlib import sha1, sha256
from typing import Any, Final
from zlib import crc32

from quantkeep.errors import Corrupt

DIGITS: Final = 8

_ALGORITHMS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "crc32": lambda data: f"{crc32(data):08x}",
    "sha1": lambda data: sha1(data, usedforsecurity=False).hexdigest()[:DIGITS],
    "sha256": lambda data: sha256(data).hexdigest()[:DIGITS],
}
_HEAD: Final = re.compile(r'\{"check": "(crc32|sha1|sha256):([0-9a-f]{8})", ')


def checked(text: str, beside: str = "") -> str:
    """*text*, a JSON object, with a checksum of it and of what is stored *beside* it."""
    return f'{{"check": "crc32:{crc32(_bytes(text + beside)):08x}", {text[1:]}'


def is_sound(text: str, beside: str = "") -> bool:
    """Whether *text* has a checksum, which is right."""
    head = _HEAD.match(text)
    return head is not None and _is_right(head, text, beside)


def understood(
    text: str, members: AbstractSet[str], what: str, locator: str, beside: str = ""
) -> dict[str, Any]:
    """The members of *text*, without its checksum.

    Args:
        text: as :func:`checked` made it, or of before: then it has these *members*, and no others.
        members: their names.
        what: what it is, for the message.
        locator: where that is.
        beside: as it was given to :func:`checked`.

    Raises:
        Corrupt: it is not what was written.
    """
    head = _HEAD.match(text)
    if head and not _is_right(head, text, beside):
        raise _corrupt(f"{what} does not match its checksum", locator)
    try:
        said = json.loads(_body(head, text) if head else text)
    except ValueError as error:
        raise _corrupt(f"{what} cannot be read ({error})", locator) from None
    if not isinstance(said, dict) or (not head and said.keys() != members):
        raise _corrupt(f"{what} is neither checked nor of before there were checks", locator)
    return said


def _is_right(head: re.Match[str], text: str, beside: str) -> bool:
    return _ALGORITHMS[head[1]](_bytes(_body(head, text) + beside)) == head[2]


def _body(head: re.Match[str], text: str) -> str:
    return f"{{{text[head.end() :]}"


def _corrupt(why: str, locator: str) -> Corrupt:
    return Corrupt(
        f"{why}: it was changed outside quantkeep; run `quantkeep verify`, and restore the keep "
        "from a backup",
        locator=locator,
    )


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
