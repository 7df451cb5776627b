"""Files that prove themselves: two lines of JSON, a heading with a checksum, and what is said.

The heading has a checksum of its own, so that what it says of a commit is known where the commit
itself is damaged.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from quantkeep.errors import Corrupt, FormatTooNew

FORMAT: Final = 1
_CHECKED: Final = b',"check":"'  # what follows is the checksum of what is before it

# By collection, the streams or keys that were changed, as JSON; ``None``: any of them.
Touched = Mapping[str, "list[Any] | None"]

_dumps: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Commit(NamedTuple):
    """What a file of the log says."""

    number: int
    proof: str
    said: Mapping[str, Any]


class Salvaged(NamedTuple):
    """What is known of a damaged commit.

    Attributes:
        proof: its checksum.
        touched: what cannot be known any more.
        commit: all of it, where the damage is in the heading alone.
    """

    proof: str
    touched: Touched
    commit: Commit | None = None


def written(said: Mapping[str, Any], touched: Touched | None = None) -> tuple[str, bytes]:
    """The checksum of *said*, and the content of the file that says it."""
    body = _dumps(said).encode()
    proof = sha256(body).hexdigest()
    heading = {"sha256": proof, "format": FORMAT, "number": said["number"], "touched": touched}
    begun = _dumps(heading).encode()[:-1]
    return proof, b'%s%s%s"}\n%s\n' % (begun, _CHECKED, _check(begun), body)


def read(path: str, data: bytes, number: int | None = None) -> Commit:
    """What a file made by :func:`written` says.

    Raises:
        Corrupt: it is not what was written. FormatTooNew: a newer quantkeep wrote it.
    """
    head, _, rest = data.partition(b"\n")
    heading = _heading(head)
    if not heading:
        raise damaged(path, "it cannot be read")
    if heading["format"] > FORMAT:
        raise FormatTooNew(
            f"{path} has format {heading['format']}, and this quantkeep reads up to {FORMAT}: "
            "upgrade it"
        )
    body, proof = rest.removesuffix(b"\n"), heading["sha256"]
    if len(rest) != len(body) + 1 or sha256(body).hexdigest() != proof:
        raise damaged(path, "its content does not match its own sha256")
    said: dict[str, Any] = json.loads(body)
    if number is not None and said["number"] != number:
        raise damaged(path, f"it is commit {said['number']}")
    return Commit(said["number"], proof, said)


def salvaged(data: bytes, number: int, behind: Commit | None) -> Salvaged | None:
    """What can be known of the commit *number*, whose file holds *data* and is damaged.

    Args:
        data: empty where it is gone.
        number: of that commit.
        behind: the commit behind it, which names its checksum, and what it touched.
    """
    head, _, rest = data.partition(b"\n")
    heading = _heading(head)
    if heading.get("number") != number:
        heading = {}
    if behind is None:
        touched = heading.get("touched")
        return None if touched is None else Salvaged(heading["sha256"], touched)
    proof, body = behind.said["previous"], rest.removesuffix(b"\n")
    if sha256(body).hexdigest() == proof:
        return Salvaged(proof, {}, Commit(number, proof, json.loads(body)))
    touched = behind.said.get("before", heading.get("touched"))
    if touched is None or heading.get("sha256", proof) != proof:
        return None
    return Salvaged(proof, touched)


def _heading(head: bytes) -> Mapping[str, Any]:
    """What a heading says; nothing, if it is damaged."""
    begun, _, check = head.rpartition(_CHECKED)
    if check != _check(begun) + b'"}':
        return {}
    heading: dict[str, Any] = json.loads(head)
    return heading


def _check(begun: bytes) -> bytes:
    return sha256(begun).hexdigest()[:16].encode()


def damaged(path: str, why: str) -> Corrupt:
    """The error that names a damaged file."""
    return Corrupt(
        f"{path}: {why}. It was changed outside quantkeep, or damaged; restore it from a backup",
        locator=path,
    )
