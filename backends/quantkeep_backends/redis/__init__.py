"""``redis://``: keys of its own in a Redis or Valkey database.

The driver is imported when a keep is opened.
"""

import os
from urllib.parse import quote

from quantkeep.backend import Backend, Capability, Durability
from quantkeep.hookspecs import BackendInfo, Opening, hookimpl
from quantkeep.url import Url

_SCHEME = "redis"


@hookimpl
def quantkeep_open(url: Url, opening: Opening) -> Backend | None:
    if url.scheme != _SCHEME:
        return None
    from quantkeep_backends.redis.opening import open_backend

    return open_backend(url, opening)


@hookimpl
def quantkeep_scratch(url: Url, name: str) -> str | None:
    if url.scheme != _SCHEME:
        return None
    options = {**url.options, "name": f"{name}_{os.urandom(4).hex()}"}
    query = "&".join(f"{key}={quote(value)}" for key, value in options.items())
    return f"{url.full.partition('?')[0]}?{query}"


@hookimpl
def quantkeep_scratch_discard(url: Url) -> None:
    if url.scheme != _SCHEME:
        return
    from quantkeep_backends.redis.opening import discard

    discard(url)


@hookimpl
def quantkeep_backend() -> BackendInfo:
    from quantkeep_backends.redis.settings import OPTIONS

    return BackendInfo(
        scheme=_SCHEME,
        summary="Redis 6.2 or newer, or Valkey; hot state, and a tape that is packed",
        example="redis://localhost:6379/0",
        capabilities=Capability.PERSISTENT
        | Capability.MULTI_PROCESS
        | Capability.MULTI_HOST
        | Capability.STORE_CLOCK
        | Capability.FAILPOINTS,
        durability=Durability.DISK,
        options=OPTIONS,
    )
