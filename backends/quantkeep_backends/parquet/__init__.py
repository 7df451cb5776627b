"""``parquet:///folder`` and ``parquet+s3://bucket/...``: Parquet files and a commit log.

Every commit is a new numbered file, created exclusively, so several processes may write at once; on
an object store, several hosts. Small commits live in the log, large appends in Parquet files beside
it, and compaction folds the one into the other. ``docs/parquet-layout.md`` tells what is where, and
how DuckDB, polars or Spark read it.
"""

from quantkeep.backend import Backend, Durability
from quantkeep.hookspecs import BackendInfo, Opening, hookimpl
from quantkeep.url import Url

SCHEME = "parquet"


@hookimpl
def quantkeep_open(url: Url, opening: Opening) -> Backend | None:
    if url.scheme != SCHEME:
        return None
    from quantkeep_backends.parquet._opening import opened

    return opened(url, opening)


@hookimpl
def quantkeep_backend() -> BackendInfo:
    from quantkeep_backends.parquet._opening import LOCAL, OPTIONS, S3, VOLATILE

    return BackendInfo(
        scheme=SCHEME,
        summary="Parquet files and a commit log, in a folder or an object store",
        example="parquet:///folder",
        capabilities=LOCAL,
        durability=Durability.DISK,
        options=OPTIONS,
        transports={"s3": S3, "memory": VOLATILE},
    )


@hookimpl
def quantkeep_scratch(url: Url, name: str) -> str | None:
    if url.scheme != SCHEME or not url.transport:
        return None
    from quantkeep_backends.parquet._scratch import place

    return place(url, name)


@hookimpl
def quantkeep_scratch_discard(url: Url) -> None:
    if url.scheme == SCHEME and url.transport:
        from quantkeep_backends.parquet._scratch import discard

        discard(url)
