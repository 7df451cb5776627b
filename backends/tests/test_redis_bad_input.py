"""Wrong URLs, users, servers and keys: each a typed error that says what to do, and no password."""

import os
import re
import socket
import ssl
import threading
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import quantkeep
from quantkeep import Durability, QuantkeepError
from quantkeep.errors import Corrupt, InvalidUrl, PermissionDenied, Unavailable
from quantkeep.tape import Trade
from quantkeep.url import Url
from quantkeep_backends.redis import packing, quantkeep_scratch_discard, staging
from quantkeep_backends.redis.settings import settings_of
from quantkeep_conformance import servers
from quantkeep_conformance.records import KIT_RECORDS, Entry
from quantkeep_conformance.scratch import Scratch

CANARY = "c4n4ry-p4ss"


@pytest.fixture(scope="module", params=["redis", "valkey"])
def guarded(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server with a password, and users who may do this and that."""
    with servers.redis(request.param, {}, port=servers.free_port()) as server:
        client = redis.Redis.from_url(server.url)
        rules = {
            "plain": ["~quantkeep:*", "+@all", "-config"],
            "reader": ["~quantkeep:*", "+@read", "+evalsha", "+eval", "+info", "+time"],
            "nobody": ["-@all"],
        }
        for name, rule in rules.items():
            client.execute_command("ACL", "SETUSER", name, "on", f">{CANARY}", *rule)
        client.execute_command("CONFIG", "SET", "requirepass", CANARY)
        yield server


def at(server: servers.Server, who: str, **options: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    url = server.url.replace("redis://", f"redis://{who}@")
    return f"{url}?{query}" if query else url


def said(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


# -- who asks --------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-15")
@pytest.mark.parametrize(
    "who", ["", f"plain:not-{CANARY}", f":not-{CANARY}", f"stranger:{CANARY}", f"nobody:{CANARY}"]
)
def test_who_may_not_is_told_so(guarded, who):
    url = at(guarded, who) if who else guarded.url
    with pytest.raises(PermissionDenied) as caught:
        quantkeep.open(url)
    assert CANARY not in said(caught.value)
    assert caught.value.applied == "no"
    assert not caught.value.retryable


def test_a_user_of_our_keys_alone_may_use_them(guarded):
    url = at(guarded, f"plain:{CANARY}", name="plain")
    with quantkeep.open({"tape": url}, records=KIT_RECORDS) as keep:
        keep.commit(keep.table(Entry).append([Entry(number=1)]))
        assert keep.table(Entry).count() == 1
        assert keep.backend.check() == []
        assert keep.backend.durability is Durability.SERVER  # its CONFIG may not be read
        assert any("durability=disk" in w for w in keep.backend.health().warnings)
        assert CANARY not in repr((keep, keep.backend, keep.health(), vars(keep.backend)))
    with quantkeep.open(f"{url}&durability=disk") as keep:
        assert keep.backend.durability is Durability.DISK


def test_the_commands_in_the_documentation_are_enough(guarded, monkeypatch):
    monkeypatch.setattr(packing, "RESERVED", 500)
    monkeypatch.setattr(staging, "_INLINE", 1_000)
    page = (Path(__file__).parents[2] / "docs" / "redis-keys.md").read_text()
    said = page.partition("the commands `")[2].partition(").")[0]
    commands = ["+" + word.lower() for word in re.findall(r"[A-Z]{2,}(?:\|[A-Z]+)?", said)]
    client = redis.Redis.from_url(at(guarded, f":{CANARY}"))
    client.execute_command("ACL", "SETUSER", "least", "on", f">{CANARY}", "~quantkeep:*", *commands)
    with quantkeep.open(at(guarded, f"least:{CANARY}", name="least")) as keep:
        assert keep.backend.durability is Durability.DISK
        session = keep.sessions.start("s", mode="paper")
        session["x"] = {"y": 1}
        session.save()
        session.stop()
        trades = [Trade(**TRADE, uid=f"{n}") for n in range(600)]
        keep.tape.append(trades, op_id="once")
        for each in trades[:3]:
            keep.tape.append(each.replace(uid=None))
        keep.tape.append(trades[300:])
        keep.tape.append([each.replace(uid=f"more {n}") for n, each in enumerate(trades)])
        keep.backend.compact()
        assert keep.backend.sizes()["bytes"] > 0
        assert not keep.backend.remove_garbage(keep.backend.now())
        keep.tape.prune(datetime(2031, 1, 1, tzinfo=UTC))
        keep.backend.put_blob("00" * 32, b"x")
        keep.backend.delete_blob("00" * 32)
        keep.backend.compact()
        assert keep.backend.check() == []


TRADE: Any = {
    "mode": "paper", "timestamp": datetime(2030, 1, 1, tzinfo=UTC), "symbol": "S",
    "side": "LONG", "action": "OPEN", "qty": 1.0,
}  # fmt: skip


def test_a_user_who_may_only_read_reads(guarded):
    url = at(guarded, f"plain:{CANARY}", name="read")
    with quantkeep.open({"tape": url}, records=KIT_RECORDS) as keep:
        keep.commit(keep.table(Entry).append([Entry(number=1)]))
    reader = at(guarded, f"reader:{CANARY}", name="read")
    with quantkeep.open({"tape": reader}, records=KIT_RECORDS, read_only=True) as keep:
        assert keep.table(Entry).count() == 1
    with quantkeep.open({"tape": reader}, records=KIT_RECORDS) as keep:
        with pytest.raises(PermissionDenied) as caught:
            keep.commit(keep.table(Entry).append([Entry(number=2)]))
        assert caught.value.applied == "no"


# -- where -----------------------------------------------------------------------------------------


def test_nobody_there(tmp_path):
    for url in (
        f"redis://u:{CANARY}@127.0.0.1:1/0",
        f"redis://u:{CANARY}@no-such-host.invalid/0",
        f"unix+redis:///{tmp_path}/none.sock",
        f"redis+cluster://u:{CANARY}@127.0.0.1:1",
    ):
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            quantkeep.open(url)
        assert CANARY not in said(caught.value)
        assert caught.value.retryable


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://h/nonsense", "database number"),
        ("redis://h/0?nam=x", "unknown option"),
        ("redis://h/0?name=", "1 to 100"),
        ("redis://h/0?timeout=-1", "timeout"),
        ("redis://h/0?timeout=soon", "timeout"),
        ("redis://h/0?connections=0", "connections"),
        ("redis://h/0?wait=many", "wait"),
        ("redis://h/0?cluster=perhaps", "yes or no"),
        ("redis://h/0?durability=forever", "expected one of"),
        ("redis+cluster://h/2", "one database"),
        ("unix+redis://h/x.sock", "socket"),
        ("unix+redis:///", "socket"),
    ],
)
def test_a_url_that_cannot_be_understood(url, why):
    with pytest.raises(InvalidUrl, match=why):
        quantkeep.open(url)


def test_a_database_that_the_server_does_not_have(redis_server):
    with pytest.raises(InvalidUrl, match="databases"):
        quantkeep.open(redis_server.url.replace("/0", "/99"))


def test_another_database_is_another_keep(redis_server):
    """The server may be somebody's: only what is made here is removed."""
    scratch = Scratch(redis_server.url)
    first = scratch.place()
    second = first.replace("/0?", "/1?")
    try:
        with quantkeep.open({"tape": first}, records=KIT_RECORDS) as keep:
            keep.commit(keep.table(Entry).append([Entry(number=1)]))
            with quantkeep.open({"tape": second}, records=KIT_RECORDS) as other:
                assert other.table(Entry).count() == 0
    finally:
        scratch.close()
        quantkeep_scratch_discard(Url.parse(second))


def test_what_is_not_ours_is_not_touched(redis_server):
    """A key of another type where ours would be: said, and left alone."""
    client = redis.Redis.from_url(redis_server.url)
    name = f"taken_{os.urandom(4).hex()}"
    client.set(f"quantkeep:{{{name}}}:meta", "mine")
    with pytest.raises(Corrupt, match="outside"):
        quantkeep.open(f"{redis_server.url}?name={name}")
    assert client.get(f"quantkeep:{{{name}}}:meta") == b"mine"


def test_something_else_listens():
    """Not a Redis at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            link, _ = listener.accept()
            link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            link.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(QuantkeepError):
            quantkeep.open(f"redis://127.0.0.1:{port}/0?timeout=1")
        thread.join()


# -- how -------------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-12")
def test_through_a_socket(tmp_path_factory):
    path = Path("/tmp") / f"quantkeep-{os.urandom(4).hex()}.sock"  # short: sockets allow 107
    settings = {"unixsocket": str(path)}
    with servers.redis("redis", settings, port=servers.free_port()):
        url = f"unix+redis://{path}?name=socket"
        with quantkeep.open({"tape": url}, records=KIT_RECORDS) as keep:
            keep.commit(keep.table(Entry).append([Entry(number=1)]))
            assert keep.table(Entry).count() == 1


@pytest.mark.requirement("Z-12")
def test_with_tls(redis_server, tmp_path):
    """Through a wire that speaks TLS in front of the server, trusted by its own authority."""
    certificate = certified(tmp_path)
    with Tls(redis_server, certificate) as port:
        url = f"rediss://localhost:{port}/0?name=tls_{os.urandom(4).hex()}"
        with quantkeep.open({"tape": f"{url}&ca={certificate}"}, records=KIT_RECORDS) as keep:
            keep.commit(keep.table(Entry).append([Entry(number=1)]))
            assert keep.table(Entry).count() == 1
        with pytest.raises(Unavailable):  # nobody vouches for it
            quantkeep.open(url)
        with pytest.raises(Unavailable):
            quantkeep.open(f"redis://localhost:{port}/0?timeout=0.5")
    assert settings_of(Url.parse("rediss+cluster://h:1")).tls


def certified(folder: Path) -> Path:
    """A key and a certificate for localhost, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path = folder / "tls.pem"
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(pem)
    )
    return path


class Tls:
    """Takes TLS connections and passes on what is in them."""

    def __init__(self, server: servers.Server, certificate: Path) -> None:
        parts = Url.parse(server.url).parts
        self._target = (parts.hostname, parts.port)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> int:
        threading.Thread(target=self._accept, daemon=True).start()
        return self._listener.getsockname()[1]

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            client = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            return
        server = socket.create_connection(self._target)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(65_536):
                sink.sendall(piece)
        except OSError:
            pass
        finally:
            for link in (source, sink):
                link.close()
