"""The five scenarios of D70, with engines that are killed from outside (Z-46)."""

from datetime import datetime
from decimal import Decimal

import pytest

import quantkeep
from quantkeep.errors import Corrupt, InvalidValue
from quantkeep.sessions import SnapshotRecord

OPEN_BTC = ["open", "BTC", "50000.10", "0.02"]
OPEN_ETH = ["open", "ETH", "2500.55", "1.5"]
TWENTY_LOOPS = [OPEN_BTC, *[["idle"]] * 9, ["close", "BTC", 12.38], OPEN_ETH, *[["idle"]] * 8]


@pytest.fixture
def opened(persistent_url, arbitrage):
    def open_again():
        return quantkeep.open(persistent_url, types=arbitrage.TYPES)

    return open_again


@pytest.mark.requirement("D70-23", "D70-3", "D70-29", api="SessionStore.resume")
def test_s1_an_open_position_comes_back_as_the_objects_it_was(
    killed, opened, persistent_url, arbitrage
):
    killed(persistent_url, "start", "arb", [OPEN_BTC, ["idle"]])
    with opened() as keep, keep.sessions.resume("arb") as session:
        position = session["positions"]["active_orders"]["BTC"]
        assert type(position["trade"]) is arbitrage.ArbitrageTrade
        assert type(position["order_a"]) is arbitrage.Order
        assert position["order_a"].side is arbitrage.Side.BUY
        assert position["order_b"].side is arbitrage.Side.SELL
        assert position["order_a"].price == Decimal("50000.10")
        assert position["trade"].notional == Decimal("1000.002")
        opened_at = datetime.fromisoformat("2026-01-19T12:00:00.123456+00:00")
        assert position["position_open_time"] == opened_at
        position["order_a"].filled = Decimal("0.02")  # the leg goes on being filled
    with opened() as keep:
        state = keep.sessions.state("arb")
        assert state["positions"]["active_orders"]["BTC"]["order_a"].filled == Decimal("0.02")
        order = state["positions"]["active_orders"]["BTC"]["order_a"]
        assert keep.hosts.as_dict(order)["exchange"] == "upbit"


@pytest.mark.requirement("D70-23", api="Session.save")
def test_s1_an_object_nobody_registered_is_refused_by_its_path_and_nothing_is_written(arbitrage):
    with quantkeep.open("memory://") as keep:
        engine = arbitrage.Engine.start(keep, "arb")
        engine.session.save()
        before = keep.sizes(), engine.session.revision
        engine.session["positions"]["paper_position_open_times"]["x"] = 1.5
        with pytest.raises(InvalidValue) as caught:
            engine.loop(OPEN_BTC)
        assert caught.value.field == "positions.active_orders['BTC'].trade"
        assert "ArbitrageTrade" in str(caught.value)
        assert (keep.sizes(), engine.session.revision) == before
        assert keep.sessions.state("arb")["positions"] == {
            "active_orders": {},
            "paper_position_open_times": {},
        }
        del engine.session["positions"]["active_orders"]["BTC"]
        engine.session.save()  # the rest of the change was not forgotten
        assert keep.sessions.state("arb")["positions"]["paper_position_open_times"] == {"x": 1.5}


@pytest.mark.requirement("D70-24", "D70-4", "D70-9", "D70-19", "Z-46", api="SessionStore.resume")
def test_s2_a_portfolio_comes_back_and_goes_on(killed, opened, persistent_url, arbitrage):
    session_id = killed(persistent_url, "start", "arb", TWENTY_LOOPS)
    with opened() as keep:
        engine = arbitrage.Engine.resume(keep, "arb")
        session, metrics = engine.session, engine.session["metrics"]
        assert session.session_id == session_id
        assert session.loop_count == 20
        assert session.paper_campaign_id == "S2"
        assert metrics == {
            "total_trades_opened": 2,
            "total_trades_closed": 1,
            "total_winning_trades": 1,
            "total_pnl_usd": 12.38,
            "portfolio_equity": 10012.38,
        }
        session.stop()
    killed(persistent_url, "resume", "arb", [["close", "ETH", -2.38], OPEN_BTC, OPEN_ETH])
    with opened() as keep:
        record, metrics = keep.sessions.get("arb"), keep.sessions.state("arb")["metrics"]
    assert record.session_id == session_id
    assert record.loop_count == 23
    assert metrics["total_trades_opened"] == 4
    assert metrics["total_trades_closed"] == 2
    assert metrics["total_winning_trades"] == 1
    assert metrics["portfolio_equity"] == pytest.approx(10010.0)


@pytest.mark.requirement("D70-25", "D70-5", "D70-10", "Z-46", api="Session.attach")
def test_s3_the_daily_loss_continues_exactly(killed, opened, persistent_url, arbitrage):
    killed(persistent_url, "start", "arb", [OPEN_BTC, ["close", "BTC", -37.19], OPEN_BTC])
    with opened() as keep:
        engine = arbitrage.Engine.resume(keep, "arb")
        assert engine.guard.daily_loss_usd == 37.19
        newest = keep.sessions.snapshots("arb")[-2]  # of the loop that lost
        sections = keep.sessions.snapshot("arb", newest.revision).sections
        assert sections["risk_guard"] == {
            "daily_loss_usd": 37.19,
            "per_symbol_loss": {"BTC": 37.19},
        }
        assert sections["metrics"]["total_pnl_usd"] == -37.19
        engine.loop(["close", "BTC", -0.1])
        engine.session.stop()
    with opened() as keep:
        engine = arbitrage.Engine.resume(keep, "arb")
        assert engine.guard.daily_loss_usd == 37.19 + 0.1
        assert engine.guard.per_symbol_loss == {"BTC": 37.19 + 0.1}


@pytest.mark.requirement("D70-22", api="SessionStore")
def test_the_smoke_list(keep):
    assert all(health.ok for health in keep.health().values())
    session = keep.sessions.start("smoke", "test")
    session["positions"] = {"BTC": {"qty": 1.5}}
    session.save()
    assert keep.sessions.state("smoke") == {"positions": {"BTC": {"qty": 1.5}}}
    revision = session.snapshot().revision
    assert keep.sessions.snapshot("smoke", revision).sections == session.plain()
    assert keep.sessions.verify("smoke") == []
    session.stop()
    keep.sessions.delete("smoke")
    assert keep.sessions.list() == []


@pytest.mark.requirement("D70-26", "D70-18", "D70-39", "Z-44", api="SessionStore.start")
def test_s4_a_clean_start_has_nothing_and_leaves_the_first_session_as_it_was(
    killed, opened, persistent_url
):
    first = killed(persistent_url, "start", "arb", [OPEN_BTC, ["close", "BTC", 1.5], OPEN_ETH])
    with opened() as keep:
        second = keep.sessions.start("arb", "paper")
        assert second.session_id != first
        assert dict(second) == {}
        assert second.loop_count == 0
        second.stop()
        original = keep.sessions.resume(first)
        assert original.session_id == first
        assert original["metrics"]["total_trades_opened"] == 2
        assert original["positions"]["active_orders"].keys() == {"ETH"}
        assert keep.sessions.get("arb").session_id == second.session_id  # the latest by name


@pytest.mark.requirement("D70-27", "Z-41", api="SessionStore.resume")
def test_s5_a_corrupt_snapshot_is_never_loaded(killed, opened, persistent_url, arbitrage):
    session_id = killed(
        persistent_url, "start", "arb", [OPEN_BTC, ["close", "BTC", 1.5], OPEN_ETH, ["idle"]]
    )
    with opened() as keep:
        newest = keep.sessions.snapshots("arb")[-1].revision
        collection = keep.table(SnapshotRecord).collection
        keep.backend.backdoor().flip(collection, (session_id, newest), "body")
        with pytest.raises(Corrupt, match=f"snapshot is {newest - 1}") as caught:
            keep.sessions.resume("arb")
        assert caught.value.newest_good == newest - 1
        engine = arbitrage.Engine.resume(keep, "arb", allow_older=True)
        origin = engine.session.resumed_from
        assert (origin.source, origin.revision) == ("snapshot", newest - 1)
        assert str(newest) in origin.damaged[0]
        assert engine.session["positions"]["active_orders"] == {}
        assert engine.session["metrics"]["total_trades_closed"] == 1
        engine.loop(OPEN_ETH)
        engine.session.stop()
        assert [p.revision for p in keep.sessions.verify("arb")] == [newest]
        keep.sessions.resume("arb").stop()  # the newest snapshot is a good one again


@pytest.mark.requirement("D70-27", api="SessionStore.resume")
def test_s5_where_all_snapshots_are_corrupt_a_clean_start_is_recommended(
    killed, opened, persistent_url
):
    session_id = killed(persistent_url, "start", "arb", [OPEN_BTC])
    with opened() as keep:
        collection = keep.table(SnapshotRecord).collection
        for snapshot in keep.sessions.snapshots("arb"):
            keep.backend.backdoor().flip(collection, (session_id, snapshot.revision), "body")
        for options in ({}, {"allow_older": True}):
            with pytest.raises(Corrupt, match="start clean") as caught:
                keep.sessions.resume("arb", **options)
            assert caught.value.newest_good is None
