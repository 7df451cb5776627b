"""``sqlite:///path``: one file, several processes, nothing to set up. The embedded default.

SQLAlchemy, which says the schema and compiles the statements, is imported when a keep is opened.
"""

from quantkeep.backend import Backend, Capability, Durability
from quantkeep.hookspecs import BackendInfo, Opening, hookimpl
from quantkeep.url import Url

_SCHEME = "sqlite"


@hookimpl
def quantkeep_open(url: Url, opening: Opening) -> Backend | None:
    if url.scheme != _SCHEME:
        return None
    from quantkeep_backends.sqlite.opening import open_backend

    return open_backend(url, opening)


@hookimpl
def quantkeep_backend() -> BackendInfo:
    return BackendInfo(
        scheme=_SCHEME,
        summary="one file, several processes at once: the embedded default",
        example="sqlite:///bot.db",
        capabilities=Capability.PERSISTENT
        | Capability.MULTI_PROCESS
        | Capability.PUSH_DOWN
        | Capability.SNAPSHOT_READS
        | Capability.FAILPOINTS,
        durability=Durability.DISK,
        options={
            "busy_timeout": "seconds to wait for other writers (30)",
            "synchronous": "full; normal is faster, and a power cut may lose the last commits",
            "network": "allow opens a file on a network file system, from one machine at a time",
            "owner": "any opens a file of another user",
        },
    )
