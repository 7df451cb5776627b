"""Links from strategies to stretches of the tape."""

import pytest

from quantkeep import InvalidValue
from quantkeep.errors import InvalidReference
from quantkeep.knowledge import LiveTrades, Replay


@pytest.mark.requirement("KB-15", "Z-66", api="KnowledgeStore.link_live_trades")
def test_a_strategy_is_linked_to_what_it_traded(lab, knowledge) -> None:
    strategy_id = lab.strategy()
    live_id = knowledge.link_live_trades(
        LiveTrades(run_id=lab.run_id, strategy_id=strategy_id, mode="live", first_revision=5)
    )
    (link,) = knowledge.live_trades(strategy_id=strategy_id)
    assert (link.live_id, link.account, link.log) == (live_id, "default", "trades")
    assert [(w.column, w.operator, w.value) for w in link.where] == [
        ("account", "==", "default"),
        ("mode", "==", "live"),
        ("revision", ">=", 5),
    ]
    knowledge.extend_live_trades(live_id, 9)
    (link,) = knowledge.live_trades(run_id=lab.run_id)
    assert ("revision", "<=", 9) in [(w.column, w.operator, w.value) for w in link.where]


@pytest.mark.requirement("KB-15", "Z-66", api="KnowledgeStore.link_replay")
def test_a_replay_is_linked_to_the_backtest_it_gave(lab, knowledge) -> None:
    backtest_id = lab.backtest()
    strategy_id = knowledge.backtest(backtest_id).strategy_id
    given = Replay(
        run_id=lab.run_id, strategy_id=strategy_id, backtest_id=backtest_id, account="main",
        mode="paper", first_revision=1, last_revision=100,
    )  # fmt: skip
    replay_id = knowledge.link_replay(given)
    (found,) = knowledge.replays(strategy_id=strategy_id)
    assert found == given.replace(replay_id=replay_id)
    for wrong in ({"strategy_id": "nobody"}, {"backtest_id": "nothing"}):
        with pytest.raises(InvalidReference):
            knowledge.link_replay(given.replace(**wrong))


@pytest.mark.requirement("Z-66")
@pytest.mark.parametrize(("first", "last"), [(0, None), (5, 4)])
def test_a_stretch_has_a_beginning_before_its_end(lab, first, last) -> None:
    with pytest.raises(InvalidValue, match=r"LiveTrades\.(first|last)_revision"):
        LiveTrades(
            run_id=lab.run_id, strategy_id="s", mode="live", first_revision=first,
            last_revision=last,
        )  # fmt: skip


@pytest.mark.requirement("Z-66", api="LiveTrades.where")
def test_the_link_picks_its_rows_of_the_tape(tmp_path) -> None:
    import quantkeep
    from quantkeep import Record, record

    @record("fills", log=True, stream=("account", "mode"))
    class Fill(Record):
        account: str = "default"
        mode: str
        note: str

    with quantkeep.open("memory://", records=[Fill]) as keep:
        fills = [Fill(mode=mode, note=f"{mode}{n}") for n in range(5) for mode in ("live", "paper")]
        keep.commit(keep.table(Fill).append(fills))
        link = LiveTrades(
            run_id=None, strategy_id="s", mode="live", first_revision=2, last_revision=3
        )
        assert [fill.note for fill in keep.table(Fill).list(*link.where)] == ["live1", "live2"]
