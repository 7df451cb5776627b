"""Child processes that a clause starts, listens to, stops and kills."""

import json
import os
import select
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any, Final

from quantkeep_conformance.nursery import Nursery, Request

Event = dict[str, Any]
PATIENCE: Final = 60.0  # seconds; a child that says nothing for longer has hung


class Lines:
    """Lines from a pipe, with patience."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._buffer = b""

    def next(self, timeout: float = PATIENCE) -> str | None:
        """The next line; ``None`` once the other side is gone; raises ``TimeoutError``."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._buffer:
            chunk = self._read(deadline - time.monotonic())
            if not chunk:
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()

    def _read(self, timeout: float) -> bytes:
        ready, _, _ = select.select([self._pipe], [], [], max(timeout, 0))
        if not ready:
            raise TimeoutError("a child process said nothing: it hangs, or waits for a lock")
        return os.read(self._pipe, 65536)

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._pipe)


class Child:
    """A process doing one task, which says what it did in a line of JSON each time."""

    def __init__(self, nursery: Nursery, request: Request) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # until end()
        stdin, self._stdin = os.pipe()
        out, stdout = os.pipe()
        about, report = os.pipe()
        nursery.fork(request, [stdin, stdout, self._errors.fileno(), report])
        for theirs in (stdin, stdout, report):
            os.close(theirs)
        self._events, self._report = Lines(out), Lines(about)
        self._code: int | None = None
        self._ended = False
        first = self._report.next()
        if first is None:
            raise RuntimeError("no child could be forked: see what the nursery wrote to stderr")
        self._signal = _Signaller(int(first))

    def tell(self, said: Any) -> None:
        """Send one line to the child; nothing happens if it is dead."""
        with suppress(BrokenPipeError):
            os.write(self._stdin, json.dumps(said).encode() + b"\n")

    def hear(self) -> Event | None:
        """The next event; ``None`` once the child has ended.

        Raises:
            TimeoutError: it said nothing for too long.
        """
        line = self._events.next()
        return None if line is None else _event(line)

    def said_already(self) -> list[Event]:
        """What it has said and nobody has heard yet."""
        found: list[Event] = []
        with suppress(TimeoutError):
            while (line := self._events.next(timeout=0)) is not None:
                found.append(_event(line))
        return found

    def expect(self, name: str) -> Event:
        """The next event, which must be called *name*."""
        event = self.hear()
        assert event is not None, f"a child process died: {self.complaint()}"
        assert event["event"] == name, f"a child process said {event} instead of {name!r}"
        return event

    def rest(self) -> Iterator[Event]:
        """What else the child says, until it ends."""
        while (event := self.hear()) is not None:
            yield event

    def kill(self) -> None:
        """SIGKILL: no handler, no flush, no goodbye."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP, and wait until it has stopped."""
        self._signal(signal.SIGSTOP)
        assert self._report.next() == "stopped"

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        while self._code is None:
            line = self._report.next()
            if line != "stopped":
                self._code = int(line or 1)
        return self._code

    def complaint(self) -> str:
        """The last line the child wrote to its standard error, after its end."""
        self.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._code}"

    def end(self) -> None:
        """Make sure that it is gone, and let go of its pipes; idempotent."""
        if self._ended:
            return
        self._ended = True
        self.kill()
        self.wait()
        os.close(self._stdin)
        self._events.close()
        self._report.close()
        self._errors.close()
        self._signal.close()


class _Signaller:
    """Sends signals to one process, and never to another that was given its number later.

    Where the system has no handles for processes (they are Linux's), the number has to do.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._handle: int | None = None
        if hasattr(os, "pidfd_open"):
            self._pid = 0
            with suppress(ProcessLookupError):
                self._handle = os.pidfd_open(pid)

    def __call__(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, number)
            elif self._pid:
                os.kill(self._pid, number)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        self._pid, self._handle = 0, None


def _event(line: str) -> Event:
    event: Event = json.loads(line)
    return event
