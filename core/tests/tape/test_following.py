"""Reading on from where one stopped: nothing is missed, nothing comes twice."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice

import pytest

import quantkeep
from quantkeep import Keep
from quantkeep.errors import Corrupt, InvalidQuery, NotFound, Regression
from quantkeep.tape import Diagnostic, EquityPoint, PositionEvent, Slippage, Trade

Make = Callable[..., Trade]


@pytest.mark.requirement("Z-2", api="TradeTape.follow")
def test_a_follower_reads_on_by_revision_and_not_by_time(keep: Keep, trade: Make) -> None:
    keep.tape.append(trade(5), trade(4), trade(3), trade(9, mode="live"))
    seen = [*keep.tape.follow(Trade, mode="paper", patience=0)]
    assert [t.revision for t in seen] == [1, 2, 3]
    keep.tape.append(trade(1))  # an older instant, a newer revision
    (new,) = keep.tape.follow(Trade, mode="paper", after=3, patience=0)
    assert (new.revision, new.timestamp) == (4, trade(1).timestamp)
    assert [*keep.tape.follow(Trade, mode="test", patience=0)] == []


@pytest.mark.requirement("Z-2", "Z-9", api="TradeTape.follow")
def test_nothing_is_missed_beside_several_writers(keep: Keep, trade: Make) -> None:
    writers, each = 4, 40

    def write(writer: int) -> None:
        for number in range(each):
            keep.tape.append(trade(uid=f"{writer}-{number}"))

    threads = [threading.Thread(target=write, args=(w,)) for w in range(writers)]
    for thread in threads:
        thread.start()
    try:
        follower = keep.tape.follow(Trade, mode="paper", poll=0.001, patience=30)
        seen = [*islice(follower, writers * each)]
    finally:
        for thread in threads:
            thread.join()
    assert [t.revision for t in seen] == [*range(1, writers * each + 1)]
    assert len({t.uid for t in seen}) == writers * each


def test_a_follower_goes_on_over_many_pages(keep: Keep, trade: Make) -> None:
    keep.tape.append([trade() for _ in range(2_500)])
    found = [t.revision for t in keep.tape.follow(Trade, mode="paper", after=100, patience=0)]
    assert found == [*range(101, 2_501)]


def test_a_follower_gives_up_after_its_patience(keep: Keep, trade: Make) -> None:
    keep.tape.append(trade())
    follower = keep.tape.follow(Trade, mode="paper", poll=0.01, patience=0.05)
    assert len([*follower]) == 1


@pytest.mark.requirement("Z-2", api="TradeTape.follow")
def test_what_was_pruned_is_not_passed_over(keep: Keep, trade: Make, noon: datetime) -> None:
    keep.tape.append([trade(m) for m in range(10)])
    keep.tape.prune(noon + timedelta(minutes=6))
    with pytest.raises(NotFound, match="revision 4 was pruned; what is kept begins at 7"):
        next(keep.tape.follow(Trade, mode="paper", after=3, patience=0))
    assert [t.revision for t in keep.tape.follow(Trade, mode="paper", patience=0)] == [7, 8, 9, 10]
    assert len([*keep.tape.follow(Trade, mode="paper", after=6, patience=0)]) == 4


def test_all_of_it_can_have_been_pruned(keep: Keep, trade: Make, noon: datetime) -> None:
    keep.tape.append(trade(), trade())
    keep.tape.prune(noon + timedelta(days=1))
    with pytest.raises(NotFound, match="nothing is kept any more"):
        next(keep.tape.follow(Trade, mode="paper", after=0, patience=0))
    keep.tape.append(trade())
    assert [t.revision for t in keep.tape.follow(Trade, mode="paper", patience=0)] == [3]


@pytest.mark.requirement("Z-6", api="TradeTape.follow")
def test_what_was_removed_by_other_hands_is_noticed(keep: Keep, trade: Make) -> None:
    keep.tape.append(trade(), trade(), trade())
    keep.backend.backdoor().remove(Trade.collection, ("default", "paper", 2))
    with pytest.raises(Corrupt, match="revision 2 is missing"):
        [*keep.tape.follow(Trade, mode="paper", patience=0)]


@pytest.mark.requirement("Z-6", api="TradeTape.trades")
def test_what_was_changed_by_other_hands_is_noticed(keep: Keep, trade: Make) -> None:
    keep.tape.append(trade())
    keep.backend.backdoor().flip(Trade.collection, ("default", "paper", 1), "qty")
    for read in (
        keep.tape.trades,
        lambda: [*keep.tape.follow(Trade, mode="paper", patience=0)],
        lambda: keep.tape.arrow(Trade).read_all(),
    ):
        with pytest.raises(Corrupt):
            read()


def test_a_tape_older_than_its_reader_is_noticed(keep: Keep, trade: Make) -> None:
    keep.tape.append(trade())
    with pytest.raises(Regression, match="older backup"):
        next(keep.tape.follow(Trade, mode="paper", after=2, patience=0))


# -- across logs -----------------------------------------------------------------------------------


@pytest.mark.requirement("Z-8", api="TradeTape.events_after")
def test_events_after_the_watermarks_are_those_the_state_does_not_have(
    keep: Keep, trade: Make, noon: datetime
) -> None:
    keep.tape.append(trade(uid="old"), EquityPoint(mode="paper", timestamp=noon, total_equity=1.0))
    marks = keep.tape.watermarks(mode="paper")
    assert marks["trades/paper/default"] == 1
    assert marks["position_history/paper/default"] == 0
    opened = PositionEvent(mode="paper", timestamp=noon, symbol="BTC", event_type="OPEN")
    keep.tape.append(opened, trade(uid="new"))
    keep.tape.append(trade(9, mode="live"), trade(9, account="sub"))
    keep.tape.append(Diagnostic(mode="paper", timestamp=noon, metric_type="risk", data={}))
    keep.tape.append(trade(-9, uid="newer"))
    found = [*keep.tape.events_after(marks)]
    assert [type(e).__name__ for e in found] == ["Trade", "PositionEvent", "Diagnostic", "Trade"]
    assert [e.uid for e in found if isinstance(e, Trade)] == ["new", "newer"]
    assert [*keep.tape.events_after(keep.tape.watermarks(mode="paper"))] == []


@pytest.mark.requirement("Z-8", api="TradeTape.events_after")
def test_a_log_keeps_its_order_whatever_the_clock_did(
    url: str, trade: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quantkeep.open(url) as keep:
        from quantkeep.collection import SealedRow

        # an import brings stamps of its own, here running backwards
        table = keep.table(Trade)
        rows: list[SealedRow] = [
            row._replace(created_at=10_000 - n, updated_at=10_000 - n)
            for n, row in enumerate(table.sealed([trade(uid=str(n)) for n in range(5)]))
        ]
        table.backend.commit(quantkeep.batch.one(quantkeep.batch.Append(table.collection, rows)))
        found = keep.tape.events_after({"trades/paper/default": 0})
        assert [e.revision for e in found] == [1, 2, 3, 4, 5]


def test_an_account_may_be_called_anything(keep: Keep, trade: Make) -> None:
    keep.tape.append(trade(account="fund/a", mode="live"))
    marks = dict.fromkeys(keep.tape.watermarks(mode="live", account="fund/a"), 0)
    assert len([*keep.tape.events_after(marks)]) == 1
    assert "slippage_analysis/live/fund/a" in marks


@pytest.mark.parametrize("name", ["trades", "orders/paper/default"])
def test_watermarks_of_other_things_are_refused(keep: Keep, name: str) -> None:
    with pytest.raises(InvalidQuery):
        [*keep.tape.events_after({name: 0})]


@pytest.mark.requirement("Z-8", api="TradeTape.events_after")
def test_a_pruned_event_is_not_passed_over_when_resuming(
    keep: Keep, trade: Make, noon: datetime
) -> None:
    marks = keep.tape.watermarks(mode="paper")
    keep.tape.append(trade(), trade(1))
    keep.tape.prune(noon + timedelta(minutes=1))
    with pytest.raises(NotFound, match="was pruned"):
        [*keep.tape.events_after(marks)]


def test_a_live_log_of_slippage_is_followed_too(keep: Keep, noon: datetime) -> None:
    fill = Slippage(timestamp=noon, symbol="BTC", target_price=1.0, fill_price=1.0)
    keep.tape.append(fill)
    assert [*keep.tape.follow(Slippage, mode="live", patience=0)] == [fill]
