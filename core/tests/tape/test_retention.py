"""Pruning: from the beginning, and never a gap."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from quantkeep import Keep
from quantkeep.tape import EquityPoint, Expired, Trade

Make = Callable[..., Trade]


def _kept(keep: Keep, **asked: str) -> list[int | None]:
    return sorted(t.revision or 0 for t in keep.tape.scan(Trade, **asked))  # type: ignore[arg-type, misc]


@pytest.mark.requirement("Z-2", api="TradeTape.prune")
def test_a_stream_is_cut_before_its_first_entry_that_is_not_older(
    keep: Keep, trade: Make, noon: datetime
) -> None:
    keep.tape.append([trade(m) for m in (0, 1, 7, 2, 8)])  # the fourth arrived late
    limit = noon + timedelta(minutes=5)
    expected = [Expired("trades", "default", "paper", 2, 2)]
    assert keep.tape.expired(limit) == expected
    assert _kept(keep) == [1, 2, 3, 4, 5]
    assert keep.tape.prune(limit) == expected
    assert _kept(keep) == [3, 4, 5]
    assert keep.tape.prune(limit) == []
    assert keep.tape.append(trade()).revision == 6


@pytest.mark.requirement("Z-30", api="TradeTape.prune")
def test_one_stream_is_pruned_and_the_others_are_not(
    keep: Keep, trade: Make, noon: datetime
) -> None:
    keep.tape.append(trade(), trade(mode="live"), trade(mode="live", account="sub"))
    keep.tape.append(EquityPoint(mode="live", timestamp=noon, total_equity=1.0))
    later = noon + timedelta(days=1)
    keep.tape.prune(later, kinds=[Trade], mode="live", account="sub")
    assert len(keep.tape.trades()) == 2
    keep.tape.prune(later, kinds=[Trade], mode="live")
    assert [t.mode for t in keep.tape.trades()] == ["paper"]
    assert len(keep.tape.equity()) == 1
    assert {part.collection for part in keep.tape.prune(later)} == {"trades", "equity_history"}


@pytest.mark.requirement("Z-8", "Z-42", api="TradeTape.prune")
def test_what_a_session_has_still_to_read_is_kept(keep: Keep, trade: Make, noon: datetime) -> None:
    keep.tape.append(trade(), trade())
    marks = keep.tape.watermarks(mode="paper")
    keep.tape.append(trade(uid="unread"))
    keep.tape.prune(noon + timedelta(days=1), keep_after=marks)
    assert [t.uid for t in keep.tape.trades()] == ["unread"]
    assert len([*keep.tape.events_after(marks)]) == 1


def test_long_beginnings_are_removed_in_portions(keep: Keep, trade: Make, noon: datetime) -> None:
    keep.tape.append([trade() for _ in range(2_345)], trade(60))
    (part,) = keep.tape.prune(noon + timedelta(minutes=1))
    assert (part.through, part.rows) == (2_345, 2_345)
    assert _kept(keep) == [2_346]
