"""Places of their own for tests, below a prefix that nobody else has."""

import secrets
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from quantkeep.hookspecs import Opening
from quantkeep.url import Url
from quantkeep_backends.parquet._opening import files_of

_TOGETHER: Final = 8  # files that are removed at once


def place(url: Url, name: str) -> str:
    """The URL of a fresh prefix beside *url*."""
    path = f"{url.parts.path.rstrip('/')}.scratch-{secrets.token_hex(8)}/{name}"
    return url.full.replace(f"{url.parts.netloc}{url.parts.path}", f"{url.parts.netloc}{path}", 1)


def discard(url: Url) -> None:
    """Remove everything below the prefix that *url* names, which :func:`place` gave."""
    if ".scratch-" not in url.parts.path:
        return
    files, _ = files_of(url, Opening(read_only=True))
    try:
        names = [entry.name for entry in files.entries("")]
        with ThreadPoolExecutor(_TOGETHER) as pool:
            deque(pool.map(files.remove, names), maxlen=0)
    finally:
        files.close()
