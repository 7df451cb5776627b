"""Commands whose answers are waited for later: the server works while the next ones are made."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from redis.exceptions import NoScriptError, RedisError

from quantkeep.errors import scrubbed
from quantkeep_backends.redis.link import ClusterLink, Link, answer

Parts = Sequence[bytes]  # of one command, as Redis reads it
Then = Callable[[list[Any]], None]

_AHEAD: Final = 8  # groups of commands that were sent, and not answered yet
_TURN: Final = 64  # groups after which another thread may have the connection


class Pipe:
    """Sends groups of commands in order, and gives their answers in order.

    It holds a connection from the first until it is settled.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stack = ExitStack()
        self._wire: Any = None
        self._waiting: deque[tuple[int, Then]] = deque()
        self._groups = 0

    def send(self, commands: Sequence[Parts], then: Then) -> None:
        """Send *commands*; *then* takes their answers, now or later, also that a script is unknown.

        Raises:
            Lost: these or earlier ones may have been executed.
            QuantkeepError: the server refused one of the earlier ones.
        """
        if isinstance(self._link, ClusterLink):  # whose slots may move between one and the next
            then(self._told(self._link, commands))
            return
        self._wire = self._wire or self._stack.enter_context(self._link.lent())
        with self._guarded():
            self._wire.send_packed_command([p for c in commands for p in c], check_health=False)
        self._waiting.append((len(commands), then))
        self._groups += 1
        self._wait(_AHEAD)
        if self._groups % _TURN == 0:
            self.settle()

    def settle(self) -> None:
        """Have all answers; raises as :meth:`send`."""
        self._wait(0)
        self._wire = None
        self._stack.close()

    def _wait(self, most: int) -> None:
        while len(self._waiting) > most:
            count, then = self._waiting.popleft()
            with self._guarded():
                answers = self._judged([answer(self._wire) for _ in range(count)])
            then(answers)

    def _told(self, link: Link, commands: Sequence[Parts]) -> list[Any]:
        try:
            return self._judged(link.tell(*map(b"".join, commands)))
        except NoScriptError as error:
            return [error]

    def _judged(self, answers: list[Any]) -> list[Any]:
        for said in answers:
            if isinstance(said, RedisError) and not isinstance(said, NoScriptError):
                raise self._link.meaning(said) from scrubbed(said)
        return answers

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """What goes wrong leaves answers unread: the connection is let go of."""
        try:
            yield
        except BaseException as error:  # an interrupt too
            self._waiting.clear()
            self._wire = None
            self._stack.__exit__(type(error), error, error.__traceback__)  # may say what it means
            raise
