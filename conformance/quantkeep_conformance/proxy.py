"""A wire between a backend and its server that a clause can cut, slow down, or make lossy."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, urlsplit

_CHUNK: Final = 65_536


class Proxy:
    """Listens on a port of its own, and passes on what comes to the server at *target*.

    Attributes:
        delay: seconds that each piece waits before it is passed on, in both directions.
        lost: how many answers were lost.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = parts.hostname or "127.0.0.1", parts.port or 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._until_lost = 0  # answers to go, the last of which will be lost; 0: none will
        self.delay = 0.0
        self.lost = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def through(self, url: str) -> str:
        """*url*, which names the server, with this proxy in its place."""
        theirs, mine = self._target, self._listener.getsockname()[:2]
        for form in ("{0}:{1}".format, lambda host, port: quote(f"{host}:{port}", safe="")):
            url = url.replace(form(*theirs), form(*mine))
        return url

    def lose_answer(self, after: int = 0) -> None:
        """Let the server have the requests, and lose the answer after the next *after* of them.

        With it goes the connection, so that nobody waits for it.
        """
        with self._lock:
            self._until_lost = after + 1

    def heal(self) -> None:
        """Lose nothing more."""
        with self._lock:
            self._until_lost = 0

    def cut(self) -> None:
        """End all connections there are."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _end(*pair)

    def close(self) -> None:
        """End them, and take no more."""
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while self._listener.fileno() >= 0:
            with contextlib.suppress(OSError):  # closed, or nobody there: the client learns it
                self._connect(self._listener.accept()[0])

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, 5)
        except OSError:
            client.close()
            raise
        server.settimeout(None)
        for link in (client, server):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._pairs.append((client, server))
        threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
        threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for piece in _pieces(client):
                time.sleep(self.delay)
                server.sendall(piece)
        _end(client, server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for piece in _pieces(server):
                time.sleep(self.delay)
                if self._is_lost():
                    break
                client.sendall(piece)
        _end(client, server)

    def _is_lost(self) -> bool:
        with self._lock:
            last = self._until_lost == 1
            self._until_lost = max(self._until_lost - 1, 0)
            self.lost += last
            return last


def _pieces(source: socket.socket) -> Iterator[bytes]:
    while piece := source.recv(_CHUNK):
        yield piece


def _end(*links: socket.socket) -> None:
    for link in links:
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
        link.close()
