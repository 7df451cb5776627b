"""An S3 endpoint, by moto: in a process of its own, for tests stop it and cut its connections."""

import contextlib
import importlib.util
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlencode, urlsplit
from urllib.request import Request, urlopen

from quantkeep_conformance.servers._folders import scratch
from quantkeep_conformance.servers._process import (
    Process,
    Server,
    ServerUnavailable,
    free_port,
    named_by_environment,
)

BUCKET: Final = "quantkeep"
_ANYBODY: Final = "quantkeep"  # moto asks for a key and a secret, and takes any


@contextlib.contextmanager
def s3() -> Iterator[Server]:
    """An S3 endpoint that honours conditional puts, with a bucket. It forgets all when it ends.

    ``QUANTKEEP_TEST_S3_URL`` names another: ``http://KEY:SECRET@HOST/BUCKET``.
    """
    if url := named_by_environment("s3"):
        yield Server(url, store=_store(urlsplit(url)))
        return
    for module in ("moto", "flask", "flask_cors"):
        if importlib.util.find_spec(module) is None:
            raise ServerUnavailable(
                f"no S3 here, for {module} is missing: set QUANTKEEP_TEST_S3_URL or "
                "pip install 'quantkeep[servers]'"
            )
    with scratch("s3") as root:
        process, url = _moto_in(root)
        process.start()
        try:
            _make_bucket(url)
            yield Server(url, process, _store(urlsplit(url)), keeps=False)
        finally:
            process.stop()


def _moto_in(root: Path) -> tuple[Process, str]:
    port = free_port()
    command = [sys.executable, "-m", "quantkeep_conformance.servers._moto", str(port)]
    return Process(command, root / "log", _listens(port)), f"http://127.0.0.1:{port}"


def _listens(port: int) -> Callable[[subprocess.Popen[bytes]], bool]:
    def ready(popen: subprocess.Popen[bytes]) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    return ready


def _make_bucket(url: str) -> None:
    with urlopen(Request(f"{url}/{BUCKET}", method="PUT"), timeout=30) as answer:
        answer.read()


def _store(endpoint: SplitResult) -> str:
    """The URL of a keep in the bucket, for the backend that writes Parquet."""
    host = endpoint.netloc.rpartition("@")[2]
    options = {
        "endpoint_url": f"{endpoint.scheme}://{host}",
        "key": endpoint.username or _ANYBODY,
        "secret": endpoint.password or _ANYBODY,
    }
    bucket = endpoint.path.strip("/") or BUCKET
    return f"parquet+s3://{bucket}/keep?{urlencode(options)}"
