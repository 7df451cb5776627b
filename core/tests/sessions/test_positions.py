"""Current positions: by account, mode and symbol, and whether the exchange agrees."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import quantkeep
from quantkeep import ABSENT, AtRevision, InvalidValue, Keep
from quantkeep.errors import AlreadyExists, Conflict
from quantkeep.sessions.position_record import Position
from quantkeep.sessions.positions import Mismatch, SyncState

NOON = datetime(2026, 1, 19, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite"])
def keep(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keep]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bot.db"
    with quantkeep.open(url) as opened:
        yield opened


def position(**said: Any) -> Position:
    usual = {
        "mode": "paper",
        "symbol": "BTC/USDT",
        "side": "LONG",
        "size": 0.5,
        "entry_price": 50_000.0,
    }
    return Position(**{**usual, **said})


COLUMNS = """symbol mode pos_source side size entry_price current_price leverage margin notional
    cap_frac unrealized_pnl roe max_roe entry_at last_update_at age_sec entry_group entry_rank
    entry_order entry_t_star entry_reason policy_horizon_sec policy_flip_streak policy_hold_bad
    policy_last_eval_at policy_mu_annual policy_sigma_annual raw_data"""
LIVE_PRICES = """target_price slippage_actual_bps slippage_estimated_bps slippage_error_bps
    exec_type actual_fee actual_fee_rate fill_probability_est fill_rate_actual status
    current_price"""


@pytest.mark.requirement("CODEX-7", "CODEX-13", "CODEX-14", "Z-34", api="Positions")
def test_every_column_of_the_design_is_there() -> None:
    names = set(Position.collection.names)
    assert names >= {*COLUMNS.split(), *LIVE_PRICES.split(), "slippage_bps", "fee"}
    assert Position.collection.key == ("account", "mode", "symbol")


@pytest.mark.requirement("CODEX-24", "CODEX-28", api="Positions.all")
def test_positions_come_back_with_their_entry_and_exit_policy(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    saved = position(
        mode="live", pos_source="exchange", status="HOLD", current_price=50_100.0, leverage=3.0,
        margin=8_333.3, notional=25_000.0, cap_frac=0.25, unrealized_pnl=50.0, roe=0.006,
        max_roe=0.01, entry_at=NOON, last_update_at=NOON + timedelta(seconds=90), age_sec=90.0,
        entry_group="g", entry_rank=1, entry_order=2, entry_t_star=0.5, entry_reason="ev",
        policy_horizon_sec=3600, policy_flip_streak=2, policy_hold_bad=1,
        policy_last_eval_at=NOON, policy_mu_annual=0.4, policy_sigma_annual=0.6,
        target_price=49_990.0, slippage_actual_bps=2.0, slippage_estimated_bps=1.5,
        exec_type="taker", actual_fee=7.5, actual_fee_rate=0.0003, raw_data={"leverage": "3"},
    )  # fmt: skip
    with quantkeep.open(url) as keep:
        keep.sessions.positions.save(saved, position(symbol="ETH/USDT", mode="live"))
    with quantkeep.open(url) as keep:
        found = keep.sessions.positions.all(mode="live")
        assert list(found) == ["BTC/USDT", "ETH/USDT"]
        assert found["BTC/USDT"] == saved
        assert found["BTC/USDT"].policy_flip_streak == 2


@pytest.mark.requirement("CODEX-14", "Z-34", api="Position")
def test_the_slippage_error_is_actual_less_estimated() -> None:
    made = position(slippage_actual_bps=2.0, slippage_estimated_bps=1.5)
    assert made.slippage_error_bps == 0.5
    assert made.replace(slippage_actual_bps=1.0).slippage_error_bps == -0.5
    with pytest.raises(InvalidValue, match=r"slippage_error_bps: is -0\.5"):
        position(
            slippage_actual_bps=2.0, slippage_estimated_bps=1.5, slippage_error_bps=-0.5
        )  # fmt: skip


@pytest.mark.requirement("CODEX-23", "Z-30", api="Positions.save")
def test_a_position_is_saved_over_itself_and_never_over_another_mode(keep: Keep) -> None:
    positions = keep.sessions.positions
    positions.save(position(size=1.0), position(mode="live"), position(account="sub"))
    positions.save(position(size=2.0))
    sizes = [positions.all(mode="paper")["BTC/USDT"].size, len(positions.all(mode="live"))]
    assert sizes == [2.0, 1]
    assert positions.get("BTC/USDT", mode="live") == position(mode="live")
    assert positions.get("BTC/USDT", mode="test") is None
    assert positions.all(mode="paper", account="sub") == {"BTC/USDT": position(account="sub")}


@pytest.mark.requirement("CODEX-23", "Z-30", api="Positions.delete")
def test_deleting_in_one_mode_never_touches_the_other(keep: Keep) -> None:
    positions = keep.sessions.positions
    streams = [("default", "paper"), ("default", "live"), ("sub", "paper")]
    symbols = ["BTC/USDT", "ETH/USDT"]
    positions.save(*[position(account=a, mode=m, symbol=s) for a, m in streams for s in symbols])
    positions.delete("BTC/USDT", mode="paper")
    assert list(positions.all(mode="paper")) == ["ETH/USDT"]
    assert list(positions.all(mode="live")) == symbols
    assert positions.delete_all(mode="live").added == 2
    assert positions.all(mode="live") == {}
    assert list(positions.all(mode="paper")) == ["ETH/USDT"]
    assert list(positions.all(mode="paper", account="sub")) == symbols
    assert positions.delete("BTC/USDT", mode="live").added == 0


def test_of_two_writers_one_wins(keep: Keep) -> None:
    positions = keep.sessions.positions
    seen = positions.save(position(), expect=ABSENT).revision
    with pytest.raises(AlreadyExists):
        positions.save(position(), expect=ABSENT)
    positions.save(position(size=1.0), expect=AtRevision(seen))
    with pytest.raises(Conflict):
        positions.save(position(size=2.0), expect=AtRevision(seen))
    with pytest.raises(Conflict):
        positions.delete("BTC/USDT", mode="paper", expect=AtRevision(seen))


@pytest.mark.requirement("CODEX-28", api="Positions.replace_all")
def test_what_the_exchange_says_takes_the_place_of_what_was_kept(keep: Keep) -> None:
    positions = keep.sessions.positions
    positions.save(*[position(mode="live", symbol=s) for s in ("BTC", "ETH")], position())
    kept = positions.all(mode="live")["ETH"]
    said = [position(mode="live", symbol=s, pos_source="exchange") for s in ("ETH", "SOL")]
    positions.replace_all(said, mode="live")
    found = positions.all(mode="live")
    assert [*found.values()] == said
    assert found["ETH"].envelope.created_at == kept.envelope.created_at  # type: ignore[union-attr]
    assert len(positions.all(mode="paper")) == 1
    with pytest.raises(InvalidValue, match=r"Position SOL\.mode: is 'paper'"):
        positions.replace_all([position(symbol="SOL")], mode="live")
    assert [*positions.all(mode="live").values()] == said


@pytest.mark.requirement("CODEX-23", api="Position.merged")
def test_the_raw_data_lie_under_the_columns() -> None:
    merged = position(raw_data={"size": "9", "tag": "a", "leverage": 3}).merged()
    assert (merged["size"], merged["tag"], merged["leverage"]) == (0.5, "a", 3)
    assert merged["current_price"] is None
    assert "raw_data" not in merged
    assert position(raw_data="text").merged()["size"] == 0.5


# -- sync state ------------------------------------------------------------------------------------


@pytest.mark.requirement("CODEX-15", api="Position.compared")
def test_a_position_is_compared_with_the_exchange() -> None:
    held = position(mode="live", size=0.5)
    assert (held.local_size, held.exchange_size, held.size_diff) == (0.5, None, None)
    same = held.compared(0.5, NOON)
    assert (same.sync_status, same.size_diff, same.last_sync_at) == ("synced", 0.0, NOON)
    other = held.compared(0.75, NOON)
    assert (other.sync_status, other.exchange_size, other.size_diff) == ("mismatch", 0.75, 0.25)
    assert held.compared(0.5000001, NOON, tolerance=1e-6).sync_status == "synced"


@pytest.mark.requirement("CODEX-15", "CODEX-22", "Z-36", api="Positions.sync_state")
def test_the_sync_state_is_the_worst_of_the_positions(keep: Keep) -> None:
    positions = keep.sessions.positions
    assert positions.sync_state() == SyncState("synced", None, ())
    early, late = NOON, NOON + timedelta(minutes=1)
    positions.save(
        position(mode="live", symbol="A").compared(0.5, late),
        position(mode="live", symbol="B").compared(0.5, early),
        position(mode="paper", symbol="C", sync_status="mismatch"),
    )
    assert positions.sync_state() == SyncState("synced", early, ())
    positions.save(position(mode="live", symbol="A", sync_status="pending", last_sync_at=late))
    assert positions.sync_state().overall == "pending"
    positions.save(position(mode="live", symbol="B").compared(0.25, early))
    assert positions.sync_state() == SyncState(
        "mismatch", early, (Mismatch("B", 0.25, 0.5, -0.25),)
    )
    positions.save(position(mode="live", symbol="D"))
    assert positions.sync_state().last_sync_at is None  # one was never compared
