"""The servers that the kit starts: real ones, that can be stopped, killed and started again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest

from quantkeep_conformance import servers
from quantkeep_conformance.servers import (
    Server,
    ServerUnavailable,
    _folders,
    _postgresql,
    _process,
)
from quantkeep_conformance.serving import serving

NAMES = tuple(servers.STARTERS)
WITH_FILES = "redis", "valkey"


@pytest.fixture(autouse=True)
def started_here(monkeypatch):
    """Whatever servers the environment names: these tests are about starting one."""
    for name in NAMES:
        monkeypatch.delenv(f"{servers.ENVIRONMENT}{name.upper()}_URL", raising=False)


def said(url: str, *words: str) -> bytes:
    """What a Redis answers."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 1) as link:
        link.settimeout(0.5)
        lines = [f"*{len(words)}", *(text for word in words for text in (f"${len(word)}", word))]
        link.sendall("\r\n".join([*lines, ""]).encode())
        return link.recv(1000)


def answers(url: str) -> bool:
    """Whether there is somebody."""
    parts = urlsplit(url)
    with socket.socket() as link:
        return link.connect_ex((parts.hostname, parts.port)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_until_it_is_no_longer_needed(name):
    with servers.started(name) as server:
        assert server.ours
        assert answers(server.url)
    assert not answers(server.url)


@pytest.mark.parametrize("name", WITH_FILES)
def test_what_it_acknowledged_survives_its_crash(name):
    with servers.started(name) as server:
        assert said(server.url, "SET", "key", "value") == b"+OK\r\n"
        server.process.crash()
        assert not answers(server.url)
        server.process.start()
        assert said(server.url, "GET", "key") == b"$5\r\nvalue\r\n"


def test_a_crash_takes_all_processes_of_a_server():
    with servers.postgresql() as server:
        family = [server.process.popen.pid, *_process._children(server.process.popen.pid)]
        assert len(family) > 3
        server.process.crash()
        assert [pid for pid in family if _process._is_alive(pid)] == []
        server.process.start()
        assert answers(server.url)


def test_a_paused_server_answers_late():
    with servers.redis() as server:
        server.process.pause()
        with pytest.raises(TimeoutError):
            said(server.url, "PING")
        server.process.resume()
        assert said(server.url, "PING") == b"+PONG\r\n"


def test_settings_are_added():
    with servers.redis(settings={"appendfsync": "everysec"}) as server:
        assert b"everysec" in said(server.url, "CONFIG", "GET", "appendfsync")


def test_a_bucket_is_there_and_conditional_puts_are_honoured():
    with servers.s3() as server:
        store = urlsplit(server.store)
        assert store.scheme == "parquet+s3"
        (endpoint,) = parse_qs(store.query)["endpoint_url"]
        who = "AWS4-HMAC-SHA256 Credential=anybody/20260101/us-east-1/s3/aws4_request, Signature=x"
        said = {"If-None-Match": "*", "Authorization": who}
        thing = Request(f"{endpoint}/{store.netloc}/x", b"1", said, method="PUT")
        assert urlopen(thing).status == 200
        with pytest.raises(OSError, match="412"):
            urlopen(thing)


@pytest.fixture
def within_reach(monkeypatch):
    """Binaries that an ordinary user may run: root's own environments may be closed to others."""
    with _folders.scratch("binaries") as root:
        root.chmod(0o755)
        if os.geteuid() == 0:
            for name in WITH_FILES:
                shutil.copy(servers.find_redis(name), root)
                monkeypatch.setenv(f"{servers.ENVIRONMENT}{name.upper()}_BIN", str(root))
            demoted = _postgresql._demotion(root)
            folder = _postgresql._reachable(root, servers.find_postgresql(), demoted)
            monkeypatch.setenv(f"{servers.ENVIRONMENT}POSTGRESQL_BIN", str(folder))
        yield


@pytest.mark.parametrize("name", ["postgresql", *WITH_FILES])
def test_an_ordinary_user_starts_them_too(name, within_reach):
    """Where root runs this, a child gives its powers up: PostgreSQL is then not demoted."""
    program = (
        "import encodings.idna, os\n"
        "from quantkeep_conformance.servers import started\n"
        "if os.geteuid() == 0:\n"
        "    os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        f"with started({name!r}) as server:\n"
        "    print(server.url)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd="/", check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "127.0.0.1" in ended.stdout


def test_it_dies_with_whoever_started_it():
    program = (
        "import sys, time\n"
        "from quantkeep_conformance.servers import redis\n"
        "with redis() as server:\n"
        "    print(server.url, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        url = child.stdout.readline().strip()
        assert answers(url)
        child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while answers(url):
        assert time.monotonic() < deadline, "the server outlived a killed test run"
        time.sleep(0.02)


def test_a_server_that_the_environment_names_is_left_alone(monkeypatch):
    monkeypatch.setenv("QUANTKEEP_TEST_REDIS_URL", "redis://elsewhere/3")
    monkeypatch.setenv("QUANTKEEP_TEST_S3_URL", "http://me:mine@elsewhere:9000/bucket")
    with servers.redis() as server:
        assert (server.url, server.ours) == ("redis://elsewhere/3", False)
    with servers.s3() as server:
        assert not server.ours
        assert server.store == (
            "parquet+s3://bucket/keep?endpoint_url=http%3A%2F%2Felsewhere%3A9000&key=me&secret=mine"
        )


@pytest.mark.parametrize("name", NAMES[:3])
def test_where_there_is_none_it_is_said(name, monkeypatch, tmp_path):
    monkeypatch.setenv(f"QUANTKEEP_TEST_{name.upper()}_BIN", str(tmp_path))
    with pytest.raises(ServerUnavailable, match="cannot be run"), servers.started(name):
        pass


def test_its_url_is_put_into_a_command():
    command = [sys.executable, "-m", "quantkeep_conformance.servers", "redis"]
    settings = ["--setting", "databases=3"]
    program = [sys.executable, "-c", "import sys; print(sys.argv[1]); sys.exit(7)", "{url}?x=1"]
    ended = subprocess.run(
        [*command, *settings, "--", *program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 7, ended.stderr
    assert ended.stdout.startswith("redis://127.0.0.1:")
    assert ended.stdout.endswith("/0?x=1\n")


@contextmanager
def pretended(settings=None):
    """A server of one's own, as ``module:attribute`` names it."""
    yield Server(f"pretended://here/{(settings or {}).get('x', '')}")


def test_a_server_of_ones_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "pretending", sys.modules[__name__])
    with serving("pretending:pretended", ["x=1"]) as given:
        assert given.store(None) == "pretended://here/1"
        assert given.store("more+{url}") == "more+pretended://here/1"
    for wrong in ("pretending:missing", "no_such_module:x", "nothing"):
        with pytest.raises(ServerUnavailable), serving(wrong):
            pass
    with pytest.raises(ServerUnavailable, match="NAME=VALUE"), serving("redis", ["databases"]):
        pass
