"""Stores that cannot keep two writers apart, and URLs that cannot be meant, are refused."""

import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

import quantkeep
from quantkeep import Capability
from quantkeep.errors import (
    DurabilityNotMet,
    InvalidUrl,
    NotFound,
    ReadOnly,
    Unavailable,
    Unsupported,
)
from quantkeep_conformance import servers
from quantkeep_conformance.records import KIT_RECORDS, Entry


@pytest.fixture
def url(s3_url: str) -> str:
    return s3_url


def opened(url: str, **asked: object) -> quantkeep.Keep:
    return quantkeep.open({"tape": url}, records=KIT_RECORDS, **asked)  # type: ignore[arg-type]


def append(keep: quantkeep.Keep, number: int) -> quantkeep.Receipt:
    return keep.commit(keep.table(Entry).append([Entry(number=number, uid=f"{number}")]))


def numbers(keep: quantkeep.Keep) -> list[int]:
    return [entry.number for entry in keep.table(Entry).list()]


class Careless(BaseHTTPRequestHandler):
    """An S3 of sorts, that honours the conditions *knows*, and answers others with *otherwise*."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    knows: frozenset[str] = frozenset()
    otherwise = 200

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        conditions = {name for name in ("If-None-Match", "If-Match") if name in self.headers}
        if conditions <= self.knows:
            there = self.path in self.objects
            status = 412 if "If-Match" in conditions or (conditions and there) else 200
        else:
            status = self.otherwise
        if status == 200:
            self.objects[self.path] = body
        self._answer(status)

    def do_GET(self) -> None:
        self._answer(200 if self.path in self.objects else 404)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("ETag", '"x"')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.mark.parametrize("otherwise", [200, 400, 501], ids=["ignores", "rejects", "lacks"])
@pytest.mark.parametrize("knows", [(), ("If-None-Match",), ("If-Match",)], ids="+".join)
def test_a_store_without_conditional_puts_is_refused_with_the_reason(
    knows: tuple[str, ...], otherwise: int
) -> None:
    """Also one that creates on condition and cannot replace on condition: ``current.json``."""
    told = {"objects": {}, "knows": frozenset(knows), "otherwise": otherwise}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Careless,), told)) as careless:
        Thread(target=careless.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{careless.server_port}"
        place = f"parquet+s3://bucket/keep?endpoint_url={endpoint}&key=k&secret=s"
        with pytest.raises(Unsupported, match=r"If-None-Match.*If-Match.*single_writer=yes"):
            opened(place)
        careless.shutdown()


def test_a_server_that_is_not_there_is_unavailable_and_says_no_secret() -> None:
    port = servers.free_port()
    url = f"parquet+s3://b/k?endpoint_url=http://127.0.0.1:{port}&key=k&secret=c4n4ry&timeout=1"
    with pytest.raises(Unavailable) as caught:
        opened(url)
    assert "c4n4ry" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        (("//quantkeep/", "//no-such-bucket/"), NotFound, "no bucket"),
        (("secret=", "sceret="), InvalidUrl, "sceret"),
        (("//quantkeep/", "//user:pw@quantkeep/"), InvalidUrl, "key"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(
    url: str, change: tuple[str, str], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        opened(url.replace(*change, 1))


def test_other_file_systems_are_for_a_single_writer_alone() -> None:
    place = f"parquet+memory://{uuid.uuid4().hex}/k"
    with pytest.raises(Unsupported, match="single_writer=yes"):
        opened(place)
    with pytest.raises(DurabilityNotMet):
        opened(f"{place}?single_writer=yes", durability="process")
    with opened(f"{place}?single_writer=yes") as first:
        append(first, 1)
        first.backend.compact()
        append(first, 2)
        with opened(f"{place}?single_writer=yes") as second:
            assert numbers(second) == [1, 2]
            append(second, 3)
            with pytest.raises(ReadOnly, match="single writer"):
                append(first, 4)
            assert numbers(second) == [1, 2, 3]


def test_an_s3_of_a_single_writer_needs_no_conditions(url: str) -> None:
    with opened(f"{url}&single_writer=yes") as keep:
        append(keep, 1)
        assert Capability.MULTI_PROCESS not in keep.backend.capabilities
    with opened(f"{url}&single_writer=yes") as keep:
        assert numbers(keep) == [1]
