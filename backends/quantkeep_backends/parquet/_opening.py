"""From a URL to a backend: which files, and what can be promised of them."""

from collections.abc import Mapping
from typing import Any, Final

from quantkeep.backend import Backend, Capability, Durability
from quantkeep.contract import require_level
from quantkeep.errors import DriverMissing, InvalidUrl, Unsupported
from quantkeep.hookspecs import Opening
from quantkeep.url import Url, yes_or_no
from quantkeep_backends._files.local import LocalFiles
from quantkeep_backends._files.medium import Files
from quantkeep_backends.parquet._places import check
from quantkeep_backends.parquet.backend import ParquetBackend

LOCAL: Final = (
    Capability.PERSISTENT
    | Capability.MULTI_PROCESS
    | Capability.SNAPSHOT_READS
    | Capability.PUSH_DOWN
    | Capability.FAILPOINTS
)
S3: Final = LOCAL | Capability.MULTI_HOST
SINGLE: Final = LOCAL & ~(Capability.MULTI_PROCESS | Capability.FAILPOINTS)
VOLATILE: Final = SINGLE & ~Capability.PERSISTENT
OPTIONS: Final = {
    "until": "the state as it was at that commit, read-only (default: now)",
    "patience": "seconds to try against other writers (default 30)",
    "timeout": "seconds to wait for an answer (object stores; default 20)",
    "single_writer": "yes: nobody else writes; needed where the store cannot create exclusively",
}
_S3_OPTIONS: Final = (
    "endpoint_url",
    "key",
    "secret",
    "token",
    "profile",
    "anon",
    "use_ssl",
    "requester_pays",
)
_SWITCHES: Final = {"anon", "use_ssl", "requester_pays", "version_aware"}


def opened(url: Url, opening: Opening) -> Backend:
    """The backend at *url*.

    Raises:
        Unsupported: the store cannot keep two writers apart, and was not opened for a single one.
    """
    patience = url.option("patience", _seconds, 30.0)
    until = url.option("until", _number, None)
    if until is not None and not opening.read_only:
        raise InvalidUrl(f"{url}: until={until} is of the past: open it with read_only=True")
    files, capabilities = files_of(url, opening)
    try:
        require_level(files.durability, opening.durability, url)
    except BaseException:
        files.close()
        raise
    return ParquetBackend(files, opening, capabilities, patience=patience, until=until)


def files_of(url: Url, opening: Opening) -> tuple[Files, Capability]:
    """Where *url* leads to, and what can be promised there."""
    if url.transport == "":
        url.allow("patience", "until")
        path = url.path.absolute()
        check(path)
        return LocalFiles(path), LOCAL
    single = url.option("single_writer", yes_or_no, default=False)
    if url.transport == "s3" and not single:
        return _s3(url, opening), S3
    return _single(url, single=single)


def _s3(url: Url, opening: Opening) -> Files:
    try:
        from quantkeep_backends.parquet._s3 import S3Files
    except ModuleNotFoundError as error:
        raise _missing(url, error) from error
    bucket, prefix = url.parts.netloc.rpartition("@")[2], url.parts.path.strip("/")
    if not bucket:
        raise InvalidUrl(f"{url}: expected a bucket, such as parquet+s3://bucket/keep")
    if "@" in url.parts.netloc:
        raise InvalidUrl(f"{url}: credentials are options here: ?key=...&secret=...")
    url.allow(*OPTIONS, *_S3_OPTIONS)
    files = S3Files(bucket, _checked(url, prefix), _passed_on(url), _timeout(url))
    if not opening.read_only:
        try:
            files.prove_guard()
        except BaseException:
            files.close()
            raise
    return files


def _single(url: Url, *, single: bool) -> tuple[Files, Capability]:
    transport = url.transport
    if not single:
        raise Unsupported(
            f"{url}: {transport!r} is not known to create a file exclusively, so two writers could "
            "overwrite each other's commits. Add ?single_writer=yes to the URL, and see to it that "
            "no second program writes to it"
        )
    try:
        from quantkeep_backends.parquet._single import SingleWriterFiles

        path = f"{url.parts.netloc.rpartition('@')[2]}/{url.parts.path.strip('/')}".strip("/")
        path = f"/{_checked(url, path)}" if transport == "memory" else _checked(url, path)
        volatile = transport == "memory"
        level = Durability.MEMORY if volatile else Durability.PROCESS
        files = SingleWriterFiles(transport, path, _passed_on(url), level)
    except ImportError as error:
        raise _missing(url, error) from error
    return files, VOLATILE if volatile else SINGLE


def _checked(url: Url, path: str) -> str:
    """*path*, which must not leave the place that it names."""
    if not path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise InvalidUrl(f"{url}: expected a path without empty parts, such as bucket/keep")
    return path


def _passed_on(url: Url) -> Mapping[str, Any]:
    """The options that are not ours, for the file system."""
    theirs = {name: value for name, value in url.options.items() if name not in OPTIONS}
    return {
        name: url.option(name, yes_or_no, default=False) if name in _SWITCHES else value
        for name, value in theirs.items()
    }


def _timeout(url: Url) -> float:
    return url.option("timeout", _seconds, 20.0)


def _missing(url: Url, error: ImportError) -> DriverMissing:
    extra = "parquet-s3" if url.transport == "s3" else "parquet-fsspec"
    needed = getattr(error, "name", None) or "its driver"
    return DriverMissing(
        f"{url.parts.scheme}:// needs {needed}, which is not installed: "
        f"pip install 'quantkeep[{extra}]'"
    )


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("expected the number of a commit")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86_400:
        raise ValueError("expected seconds, up to a day")
    return seconds
