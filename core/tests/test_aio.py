"""The asyncio face: the same methods, off the event loop."""

import asyncio
import inspect
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep import Keep, Record, aio, record
from quantkeep.opening import store_classes


@record("pings", log=True)
class Ping(Record):
    """Something to follow."""

    at: datetime
    name: str


def ping(name: str) -> Ping:
    return Ping(at=datetime(2025, 1, 17, tzinfo=UTC), name=name)


def test_a_keep_is_used_from_asyncio(tmp_path: Path) -> None:
    async def use() -> list[str]:
        async with await aio.open("memory://", records=[Ping]) as keep:
            table = keep._target.table(Ping)
            await keep.commit(table.append([ping("a"), ping("b")]))
            assert await keep.table(Ping)
            return [p.name async for p in aio.Awaited(table, keep._threads).scan()]

    assert asyncio.run(use()) == ["a", "b"]


def test_a_session_is_saved_and_resumed() -> None:
    async def use() -> Any:
        async with await aio.open("memory://") as keep:
            session = await keep.sessions.start("btc-arb", mode="paper")
            session["risk_guard"] = {"daily_loss_usd": 1.5}
            await session.save()
            await session.stop()
            again = await keep.sessions.resume("btc-arb")
            return dict(again["risk_guard"])

    assert asyncio.run(use()) == {"daily_loss_usd": 1.5}


class Threads:
    """A tape that says in which threads it was read."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def watermarks(self, *, mode: str, account: str = "default") -> dict[str, int]:
        return {}

    def events_after(self, watermarks: Any) -> Iterator[str]:
        self.seen.add(threading.get_ident())
        return map(self._read, ["a", "b"])

    def _read(self, event: str) -> str:
        self.seen.add(threading.get_ident())
        return event

    def watermark_of(self, event: Any) -> tuple[str, int]:
        raise AssertionError


def test_the_events_of_a_session_are_read_beside_the_loop() -> None:
    tape = Threads()

    async def use() -> list[Any]:
        async with await aio.open("memory://") as keep:
            await (await keep.sessions.start("btc-arb")).stop()
            session = await keep.sessions.resume("btc-arb", tape=tape)
            return [event async for event in session.events]

    assert asyncio.run(use()) == ["a", "b"]
    assert tape.seen
    assert threading.get_ident() not in tape.seen


def test_every_public_method_is_there() -> None:
    with quantkeep.open("memory://") as keep:
        face = aio.Awaited(keep, None)  # type: ignore[arg-type]  # nothing is called
        for name in store_classes():
            store = getattr(keep, name)
            for method, _ in inspect.getmembers(store, inspect.ismethod):
                if not method.startswith("_"):
                    assert callable(getattr(getattr(face, name), method)), (name, method)
        for method, _ in inspect.getmembers(Keep, inspect.isfunction):
            if not method.startswith("_"):
                assert callable(getattr(face, method)), method


def test_errors_come_through() -> None:
    async def use() -> None:
        async with await aio.open("memory://") as keep:
            await keep.sessions.resume("nobody")

    with pytest.raises(quantkeep.NotFound):
        asyncio.run(use())


def test_the_loop_goes_on_beside_a_call_that_hangs() -> None:
    """A stuck write must not stop the strategy: it hangs until the loop has gone on."""
    going = threading.Event()

    async def use() -> None:
        async with await aio.open("memory://", records=[Ping]) as keep:
            backend = keep._target.backend.engine
            table = keep._target.table(Ping)
            loop, stuck = asyncio.get_running_loop(), asyncio.Event()

            def hang() -> int:
                loop.call_soon_threadsafe(stuck.set)
                assert going.wait(60), "the loop hangs too"
                return time.time_ns() // 1000

            backend.now = hang
            writing = asyncio.ensure_future(_once(keep.commit(table.append([ping("a")]))))
            await stuck.wait()
            for _ in range(100):
                assert not writing.done()
                await asyncio.sleep(0)
            going.set()
            assert (await writing).added == 1

    asyncio.run(use())


def test_a_cancelled_call_gives_its_answer_to_nobody_else() -> None:
    async def use() -> list[str]:
        async with await aio.open("memory://", records=[Ping]) as keep:
            table = keep._target.table(Ping)
            answers = []
            for name in "abcdefgh":
                call = asyncio.ensure_future(_once(keep.commit(table.append([ping(name)]))))
                await asyncio.sleep(0)
                call.cancel()
                receipt = await keep.commit(table.append([ping(name.upper())]))
                answers.append(
                    (await _once(aio.Awaited(table, keep._threads).fetch(receipt.revision))).name
                )
            return answers

    assert asyncio.run(use()) == list("ABCDEFGH")


async def _once(answer: Any) -> Any:
    return await answer
