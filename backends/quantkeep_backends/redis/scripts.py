"""The Lua scripts, and running one: by its digest, and with its text where the server forgot it."""

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

import attrs
from redis.exceptions import NoScriptError

from quantkeep_backends.redis.link import Link

_FOLDER: Final = "lua"

_COMMIT: Final = ("begin", "overlay", "judgements", "records", "entries")
_REST: Final = ("targets", "references", "apply")
_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "append": ("append",),  # on the path of every live append: each function costs it time
    "commit": ("common", *(f"commit/{part}" for part in (*_COMMIT, *_REST))),
    "commit_packed": ("common", *(f"commit/{part}" for part in (*_COMMIT, "packed", *_REST))),
}


@attrs.frozen
class Script:
    """One script, with what all begin with in front."""

    text: bytes
    digest: str

    def run(self, link: Link, key: bytes, *arguments: Any, then: tuple[Any, ...] = ()) -> list[Any]:
        """The script's answer, and that of the command *then*, if one is to follow.

        Raises:
            Lost: it may have been executed.
        """
        more = (then,) if then else ()
        try:
            return link.tell(("EVALSHA", self.digest, 1, key, *arguments), *more)
        except NoScriptError:  # after a restart; nothing was executed
            return link.tell(("EVAL", self.text, 1, key, *arguments), *more)


@cache
def script(name: str) -> Script:
    """The script called *name*."""
    folder = files(__package__) / _FOLDER
    parts = _PARTS.get(name, ("common", name))
    text = b"\n".join([folder.joinpath(f"{part}.lua").read_bytes() for part in parts])
    return Script(text, sha1(text).hexdigest())  # noqa: S324  # as Redis names scripts
