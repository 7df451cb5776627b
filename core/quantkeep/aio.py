"""The same keep from asyncio, without blocking the event loop.

    from quantkeep import aio

    async with await aio.open("sqlite:///bot.db") as keep:
        session = await keep.sessions.start("btc-arb", mode="paper")
        session["risk_guard"] = {"daily_loss_usd": 0.0}
        await session.save()
        async for trade in keep.tape.follow(Trade, mode="paper"):
            ...

One thin face over the synchronous keep, not a twin of it: every method is there, with the same
arguments, and is awaited; it runs in a thread of the keep's own. Properties, and what only touches
memory (the sections of a session), are as they are. What gives an iterator gives an asynchronous
one, and so does ``session.events``, which reads the tape. A call that is cancelled while it waits
goes on to its end in its thread; nobody else is ever given its answer.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from quantkeep.keep import Keep
from quantkeep.opening import open as _open
from quantkeep.store import Store
from quantkeep.table import Table

T = TypeVar("T")

THREADS: Final = 8  # of each keep: calls that wait for the engine at once
_END: Final = object()
_READING: Final = frozenset({"events"})  # properties that ask the engine


async def open(target: Any = None, **options: Any) -> "Awaited":  # noqa: A001  # as quantkeep.open
    """Open the keep at *target*; arguments and errors as of :func:`quantkeep.open`."""
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="quantkeep")
    try:
        keep = await _in(threads, functools.partial(_open, target, **options))
    except BaseException:
        threads.shutdown(wait=False)
        raise
    return Awaited(keep, threads)


async def _in(threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(threads, call)


class Awaited:
    """A keep, a store, a table or a session whose methods are awaited."""

    def __init__(self, target: Any, threads: ThreadPoolExecutor) -> None:
        self._target = target
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        if name in _READING and isinstance(getattr(type(self._target), name, None), property):
            return _Answer(functools.partial(getattr, self._target, name), self._threads)
        found = getattr(self._target, name)
        if _has_io(found):
            return Awaited(found, self._threads)
        if not callable(found) or isinstance(found, type):
            return found
        return functools.update_wrapper(_Call(found, self._threads), found)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_target", "_threads"):
            super().__setattr__(name, value)
        else:
            setattr(self._target, name, value)

    # what a session keeps in memory
    def __getitem__(self, key: Any) -> Any:
        return self._target[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._target[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._target[key]

    def __contains__(self, key: Any) -> bool:
        return key in self._target

    def __iter__(self) -> Iterator[Any]:
        return iter(self._target)

    def __len__(self) -> int:
        return len(self._target)

    def __bool__(self) -> bool:
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        leave = functools.partial(self._target.__exit__, kind, error, at)
        await _in(self._threads, leave)
        if isinstance(self._target, Keep):
            self._threads.shutdown(wait=False)

    def __repr__(self) -> str:
        return f"<awaited {self._target!r}>"


class _Call:
    """A method: await what it gives, or go over it with ``async for``."""

    def __init__(self, method: Callable[..., Any], threads: ThreadPoolExecutor) -> None:
        self._method = method
        self._threads = threads

    def __call__(self, *arguments: Any, **named: Any) -> "_Answer":
        return _Answer(functools.partial(self._method, *arguments, **named), self._threads)


class _Answer:
    def __init__(self, call: Callable[[], Any], threads: ThreadPoolExecutor) -> None:
        self._call = call
        self._threads = threads

    def __await__(self) -> Any:
        return self._given().__await__()

    async def _given(self) -> Any:
        given = await _in(self._threads, self._call)
        if _has_io(given):
            return Awaited(given, self._threads)
        return _items(given, self._threads) if isinstance(given, Iterator) else given

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._each()

    async def _each(self) -> AsyncIterator[Any]:
        given = await _in(self._threads, self._call)
        async for item in _items(iter(given), self._threads):
            yield item


async def _items(items: Iterator[Any], threads: ThreadPoolExecutor) -> AsyncIterator[Any]:
    step = functools.partial(next, items, _END)
    while (item := await _in(threads, step)) is not _END:
        yield item


def _has_io(found: Any) -> bool:
    """Whether *found* is a part of a keep, whose methods reach the engine."""
    from quantkeep.sessions.session import Session

    return isinstance(found, Keep | Store | Table | Session)
