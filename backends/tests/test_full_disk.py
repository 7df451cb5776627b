"""A file system that is really full: nothing half written, nothing lost, and it goes on."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import quantkeep
from quantkeep.tape import Trade

pytestmark = pytest.mark.faults


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 3 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def trade(number: int) -> Trade:
    return Trade(
        mode="paper",
        uid=f"trade-{number}",
        timestamp=datetime(2025, 1, 17, tzinfo=UTC),
        symbol="BTC/USDT",
        side="LONG",
        action="OPEN",
        qty=1.0,
        raw_data={"padding": "x" * 2_000},
    )


def fill(keep: quantkeep.Keep, acknowledged: list[int]) -> None:
    for number in range(5_000):
        keep.tape.append(trade(number))
        acknowledged.append(number)


@pytest.mark.requirement("Z-18", api="quantkeep.StoreFull")
@pytest.mark.parametrize(
    "url",
    ["sqlite:///{}/bot.db", "json:///{}/bot", "parquet:///{}/bot"],
    ids=["sqlite", "json", "parquet"],
)
def test_a_full_disk_is_an_error_and_then_it_goes_on(small_disk: Path, url: str) -> None:
    """GUARANTEES case 3: ENOSPC, then space returns, under the same handle and a new one."""
    with quantkeep.open(url.format(small_disk)) as keep:
        acknowledged: list[int] = []
        with pytest.raises(quantkeep.StoreFull) as caught:
            fill(keep, acknowledged)
        assert caught.value.applied == "no"
        written = len(acknowledged)
        assert written > 10
        assert len(keep.tape.trades(mode="paper")) == written

        subprocess.run(["mount", "-o", "remount,size=12m", small_disk], check=True)
        keep.tape.append(trade(written))
        assert [t.uid for t in keep.tape.trades(mode="paper")] == [
            f"trade-{number}" for number in range(written + 1)
        ]
    with quantkeep.open(url.format(small_disk)) as keep:
        assert len(keep.tape.trades(mode="paper")) == written + 1


def test_a_keep_says_that_its_disk_is_full(small_disk: Path) -> None:
    with quantkeep.open(f"sqlite:///{small_disk}/bot.db") as keep:
        with pytest.raises(quantkeep.StoreFull):
            fill(keep, [])
        health = keep.backend.health()
        assert any("its disk is full" in warning for warning in health.warnings)
        assert health.facts["free_bytes"] < 100_000
        subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
        assert not any("its disk is full" in each for each in keep.backend.health().warnings)


def test_a_keep_that_had_no_room_to_be_made_is_made_later(small_disk: Path) -> None:
    with quantkeep.open(f"sqlite:///{small_disk}/bot.db") as keep:
        with pytest.raises(quantkeep.StoreFull):
            fill(keep, [])
        with pytest.raises(quantkeep.StoreFull, match="make room"):
            quantkeep.open(f"sqlite:///{small_disk}/new.db")
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    with quantkeep.open(f"sqlite:///{small_disk}/new.db") as keep:
        keep.tape.append(trade(1))
        assert len(keep.tape.trades(mode="paper")) == 1
