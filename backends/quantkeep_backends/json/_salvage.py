"""What can be told of a line that is not as it was written: all of it, what it touched, or nothing.

A line feed may be damaged, and a byte may have become one: a line is as long as its heading says.
"""

import json
import re
from typing import Any, Final, NamedTuple

from quantkeep_backends.json._entries import BEGIN, CHECKED, proof
from quantkeep_backends.json._lines import Damaged

_LONGEST: Final = 2**20  # bytes of a heading
_SECTOR: Final = 512  # bytes: the least a disk writes; of a torn write, some never reach it
_HEADED: Final = re.compile(rb'[0-9a-f]{8} \{"bytes":')  # how a line begins, and nothing else
_ZEROS: Final = re.compile(rb"\0+")


class Whole(NamedTuple):
    """A commit of which nothing is lost.

    Attributes:
        line: what was done, behind its checksum.
        size: bytes up to the next line.
        why: what is damaged; empty if nothing is.
    """

    line: bytes
    size: int
    why: str = ""


class Lost(NamedTuple):
    """A commit of which it is known only what it touched.

    Attributes:
        size: bytes up to the next line.
        touches: names of collections.
        operation: the id that it was committed under, if any.
    """

    size: int
    touches: tuple[str, ...]
    operation: str | None


def salvaged(data: bytes, number: int, offset: int) -> Whole | Lost | None:
    """What can be told of commit *number*, with which *data* begins; ``None``: it is torn.

    Args:
        data: all that stands in the file from there on.
        number: of the commit.
        offset: of *data* in the file.

    Raises:
        Damaged: it is not torn, and nothing can be told of it.
    """
    said, begin = _heading(data, 0)
    if not said:
        return _without_heading(data, offset)
    if said["n"] != number:
        raise Damaged(f"commit {said['n']} is out of turn")
    end = begin + CHECKED + said["bytes"]
    if len(data) <= end:
        return None
    line = data[begin:end]
    if _is_proven(line):
        sound = data[end : end + 1] == b"\n" and data[begin - 1 : begin] == b" "
        return Whole(line, end + 1, "" if sound else "its line feed or a space is damaged")
    if len(data) == end + 1 and _lacks_sectors(data[:end], offset):
        return None
    return Lost(end + 1, tuple(said["touches"]), said.get("operation"))


def following(data: bytes, number: int) -> tuple[int, int] | None:
    """The next line that is of a commit from *number* on, for all that is damaged before it.

    Given are its number, and where in *data* it begins.
    """
    for found in _HEADED.finditer(data):
        said, _ = _heading(data, found.start())
        if said and said["n"] >= number:
            return said["n"], found.start()
    return None


def _heading(data: bytes, place: int) -> tuple[dict[str, Any], int]:
    """What a heading says, and where it ends; nothing, if it is damaged or there is none."""
    if not _HEADED.match(data, place):
        return {}, 0
    begin = place + CHECKED
    text = data[begin : begin + _LONGEST].decode("latin-1")  # a character a byte
    try:
        _, size = json.JSONDecoder().raw_decode(text)
        end = begin + size
        if proof(data[begin:end]) != data[place:begin]:
            return {}, 0
        said: dict[str, Any] = json.loads(data[begin:end])
    except (ValueError, RecursionError):
        return {}, 0
    return said, end + 1


def _without_heading(data: bytes, offset: int) -> Whole | None:
    begin = data.find(BEGIN) - CHECKED
    feed = data.find(b"\n", max(begin, 0))
    end = len(data) - 1 if feed < 0 else feed
    if begin >= 0 and _is_proven(data[begin:end]):
        why = "its line feed is damaged" if feed < 0 else "its heading is damaged"
        return Whole(data[begin:end], end + 1, why if begin or feed < 0 else "")
    first = data.find(b"\n")
    if first < 0 or (first == len(data) - 1 and _lacks_sectors(data[:first], offset)):
        return None
    raise Damaged("its checksum does not match, and neither does that of its heading")


def _is_proven(line: bytes) -> bool:
    return line[:CHECKED] == proof(line[CHECKED:])


def _lacks_sectors(line: bytes, offset: int) -> bool:
    """Whether a line that ends in its line feed has nothing but zeros in whole sectors: it was
    not all written when the power went. A byte that became zero by itself is damage.
    """
    for zeros in _ZEROS.finditer(line):
        first = -(-(offset + zeros.start()) // _SECTOR) * _SECTOR
        if zeros.start() == 0 or first + _SECTOR <= offset + zeros.end():
            return True
    return False
