"""A program's own values by key, and its balances."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import quantkeep
from quantkeep import InvalidValue, Keep


@pytest.fixture(params=["memory", "sqlite"])
def keep(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keep]:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/bot.db"
    with quantkeep.open(url) as opened:
        yield opened


@pytest.mark.requirement("CODEX-9", "CODEX-23", api="BotState")
def test_values_are_kept_by_key(keep: Keep) -> None:
    state = keep.sessions.bot_state
    value = {"regime": "bull", "at": datetime(2026, 1, 19, tzinfo=UTC), "n": [1, None, 0.1]}
    state.save("model", value)
    state.save("model", {**value, "regime": "bear"})
    assert state.load("model") == {**value, "regime": "bear"}
    assert state.load("nothing") is None
    assert state.load("nothing", 7) == 7
    state.save("none", None)
    assert state.load("none", 7) is None
    assert list(state.all()) == ["model", "none"]
    assert state.delete("model").added == 1
    assert state.load("model", "gone") == "gone"
    assert state.delete("model").added == 0


@pytest.mark.requirement("CODEX-9", api="BotState")
def test_accounts_have_values_of_their_own(keep: Keep) -> None:
    state = keep.sessions.bot_state
    state.save("k", 1)
    state.save("k", 2, account="sub")
    state.delete("k")
    assert state.all() == {}
    assert state.load("k", account="sub") == 2


@pytest.mark.requirement("CODEX-9", "CODEX-23", "Z-30", api="BotState.balance")
def test_each_mode_has_its_balance(keep: Keep) -> None:
    state = keep.sessions.bot_state
    assert state.balance(mode="paper") is None
    state.save_balance(8_750.974799129966, mode="paper")
    state.save_balance({"USDT": {"free": Decimal("10.50")}}, mode="live")
    assert state.balance(mode="paper") == 8_750.974799129966
    assert state.balance(mode="live") == {"USDT": {"free": Decimal("10.50")}}
    assert state.load("balance_paper") == state.balance(mode="paper")
    assert state.balance(mode="live", account="sub") is None


@pytest.mark.requirement("CODEX-9", api="BotState.save")
def test_an_operation_is_done_once(keep: Keep) -> None:
    state = keep.sessions.bot_state
    state.save("k", 1, op_id="a")
    state.save("k", 2)
    assert state.save("k", 1, op_id="a").replayed
    assert state.load("k") == 2


def test_a_value_that_no_document_holds_is_refused_by_its_path(keep: Keep) -> None:
    with pytest.raises(InvalidValue, match=r"BotValue\.value\.orders\[0\]"):
        keep.sessions.bot_state.save("k", {"orders": [object()]})
    assert keep.sessions.bot_state.all() == {}
