"""``json:///folder``: needs no database driver, and can be read in an editor.

The whole keep is held in memory and every commit is a line of a journal, synced before it returns.
Several processes may write at once: they take turns under a lock, and each reads what the others
added before it goes on.
"""

from quantkeep.backend import Backend
from quantkeep.contract import require_level
from quantkeep.hookspecs import BackendInfo, Opening, hookimpl
from quantkeep.url import Url
from quantkeep_backends.json._backend import CAPABILITIES, JsonBackend

__all__ = ["JsonBackend", "quantkeep_backend", "quantkeep_open"]

OPTIONS = {
    "patience": "seconds to wait for other writers (default 30)",
    "compact_above": "bytes of a journal that is folded into records (default 16 MiB; 0: never)",
}


@hookimpl
def quantkeep_open(url: Url, opening: Opening) -> Backend | None:
    if url.scheme != JsonBackend.name:
        return None
    url.allow(*OPTIONS)
    require_level(JsonBackend.durability, opening.durability, url)
    patience = url.option("patience", _seconds, 30.0)
    compact_above = url.option("compact_above", _bytes, 16 * 2**20)
    return JsonBackend(url.path.absolute(), opening, patience, compact_above)


def _bytes(text: str) -> int:
    size = int(text)
    if size < 0:
        raise ValueError("expected bytes, or 0 for never")
    return size


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise ValueError("expected seconds, up to a day")
    return seconds


@hookimpl
def quantkeep_backend() -> BackendInfo:
    return BackendInfo(
        scheme=JsonBackend.name,
        summary="a folder of JSON lines: needs no database driver, readable in an editor",
        example="json:///folder",
        capabilities=CAPABILITIES,
        durability=JsonBackend.durability,
        options=OPTIONS,
    )
