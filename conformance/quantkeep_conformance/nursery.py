"""A process that has imported everything, and forks children that clauses start.

A child forked here begins in milliseconds instead of half a second, so that campaigns of hundreds
of kills fit into a minute. It is still a process of its own, to be stopped and killed like any.

Run as ``python -m quantkeep_conformance.nursery SOCKET`` by :class:`Nursery`, which sends it a line
of JSON for each child, with four files: standard input, output and error, and where to report.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Sequence
from typing import IO, Any, NoReturn

Request = dict[str, Any]
_FILES = 4  # that come with a request
_LINE = 65_536


class Nursery:
    """The forking process, seen from the process that runs the clauses."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def fork(self, request: Request, files: Sequence[int]) -> None:
        """Have a child forked that does what *request* says, with *files* as above."""
        if self._socket is None:
            self._socket = self._begun()
        line = json.dumps(request).encode() + b"\n"
        socket.send_fds(self._socket, [line], files)

    def _begun(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        path = os.pathsep.join(folder for folder in sys.path if folder)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
            )
        assert self._process.stdin is not None
        with self._process.stdin as told:
            told.write(json.dumps(_modules()).encode())
        return ours

    def close(self) -> None:
        """End it; its children have ends of their own."""
        if self._socket is not None and self._process is not None:
            self._socket.close()
            self._process.wait()


def _modules() -> list[str]:
    """What this process has imported, for the backend's sake, and children will need."""
    ours = ("pytest", "_pytest", "hypothesis", "quantkeep_conformance.suites", "conftest", "test_")
    return [name for name in sys.modules if not name.startswith(("__", *ours))]


# -- in the forking process ----------------------------------------------------------------------


def main() -> None:
    """Fork a child for each request, until the other side is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the watchers report; nobody waits for them
    for name in json.load(sys.stdin):
        with contextlib.suppress(Exception):  # it is only to save time
            importlib.import_module(name)
    _warm_up()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        while (said := _received(requests))[0]:
            request, files = said
            if not os.fork():
                requests.detach()
                _watch(request, files)
            for file in files:
                os.close(file)
    os._exit(0)  # to unload what was imported would take as long as several children


def _warm_up() -> None:
    """Do once what each child would do anew: find plugins, describe records, write to each page."""
    import quantkeep
    from quantkeep_conformance.records import KIT_RECORDS

    quantkeep.open("memory://", records=KIT_RECORDS).close()
    gc.collect()
    gc.freeze()  # or a child's collections would write to each object, and so copy it


def _received(requests: socket.socket) -> tuple[Request, list[int]]:
    """The next request; there is never more than one under way, for each is waited for."""
    line, files, _, _ = socket.recv_fds(requests, _LINE, _FILES)
    while line and not line.endswith(b"\n"):
        line += requests.recv(_LINE)
    return (json.loads(line) if line else {}), files


def _watch(request: Request, files: list[int]) -> NoReturn:
    """Fork the child, and report its process id, when it stops, and how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        _become(request, files)
    for file in files[:3]:
        os.close(file)
    with open(files[3], "w", encoding="utf-8", buffering=1) as report:
        report.write(f"{child}\n")
        ended = False
        while not ended:
            _, status = os.waitpid(child, os.WUNTRACED)
            ended = not os.WIFSTOPPED(status)
            with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
                report.write(f"{os.waitstatus_to_exitcode(status) if ended else 'stopped'}\n")
    os._exit(0)


def _become(request: Request, files: list[int]) -> NoReturn:
    """Do the task; end without the goodbyes of the process this was forked from."""
    for target, file in enumerate(files[:3]):
        os.dup2(file, target)
    for file in files:
        os.close(file)
    code = 1
    try:
        from quantkeep_conformance.children import do

        do(request)
        code = 0
    except BaseException:  # noqa: BLE001  # nothing may unwind into the frames of the parent
        _complain(sys.__stderr__)
    os._exit(code)


def _complain(to: IO[str] | None) -> None:
    traceback.print_exc(file=to)
    if to is not None:
        to.flush()


if __name__ == "__main__":
    main()
