"""Backtests: each once, unless a rerun is asked for."""

from datetime import UTC, datetime

import attrs
import pytest

from quantkeep import Conflict, InvalidValue
from quantkeep.errors import AlreadyExists, InvalidReference
from quantkeep.knowledge import REPRODUCIBLE_BY, Backtest, content_hash, reproducibility_key

OTHER = {
    "engine_mode": "B",
    "engine_version": "engine 2.0",
    "data_version": "data-2",
    "universe_version": "u2",
    "period_start": datetime(2019, 1, 1, tzinfo=UTC),
    "period_end": datetime(2025, 1, 1, tzinfo=UTC),
    "bar_interval": "5m",
    "model_versions": {"cost": "c2"},
    "calc_contract": {"commission": 0.001},
}


@pytest.mark.requirement("KB-6", "KB-28", api="KnowledgeStore.insert_backtest")
def test_a_backtest_comes_back_as_it_went_in(lab, knowledge) -> None:
    given = lab.test(
        universe_version="u1", error_code="E42", status="failed", artifacts_dir="raw/x/",
        artifact_ref="result-1", details={"symbols": ["GOOG"], "wall_s": 0.1038},
    )  # fmt: skip
    backtest_id = knowledge.insert_backtest(given)
    found = knowledge.backtest(backtest_id)
    said = attrs.asdict(given, recurse=False)
    for name in ("envelope", "backtest_id", "calc_contract_hash", "reproducibility_key"):
        said.pop(name)
    said.pop("rerun_mark")
    assert {name: getattr(found, name) for name in said} == said
    assert knowledge.backtests(strategy_id=given.strategy_id) == [found]


@pytest.mark.requirement("KB-2", "KB-20", "Z-60", api="reproducibility_key")
def test_the_key_is_all_that_a_result_follows_from(lab) -> None:
    first = lab.test(calc_contract_hash=content_hash({"commission": 0.002}))
    assert set(OTHER) | {"strategy_id"} == {*REPRODUCIBLE_BY} - {"calc_contract_hash"} | {
        "calc_contract"
    }
    keys = {reproducibility_key(first)}
    for name, value in OTHER.items():
        changed = first.replace(**{name: value})
        hashed = changed.replace(calc_contract_hash=content_hash(changed.calc_contract))
        keys.add(reproducibility_key(hashed))
    assert len(keys) == 1 + len(OTHER)
    irrelevant = {
        "run_id": None,
        "status": "failed",
        "artifacts_dir": "elsewhere",
        "iteration_id": 9,
    }
    assert reproducibility_key(first.replace(**irrelevant)) == reproducibility_key(first)


@pytest.mark.requirement("Z-60", "KB-20", api="KnowledgeStore.insert_backtest")
def test_every_part_of_the_key_makes_another_backtest(lab, knowledge) -> None:
    strategy_id = lab.strategy()
    ids = {lab.backtest(strategy_id=strategy_id)}
    ids |= {lab.backtest(strategy_id=strategy_id, **{name: v}) for name, v in OTHER.items()}
    assert len(ids) == 1 + len(OTHER)
    assert len(knowledge.backtests(strategy_id=strategy_id, data_version="data-1")) == len(OTHER)
    assert len(knowledge.backtests(strategy_id=strategy_id, engine_mode="B")) == 1
    columns = [index.columns for index in Backtest.collection.indexes]
    assert ("strategy_id", "data_version", "engine_mode", "period_start", "period_end") in columns


@pytest.mark.requirement("KB-37", "Z-64", api="KnowledgeStore.insert_backtest")
def test_the_same_backtest_saved_twice_is_one(lab, knowledge) -> None:
    given = lab.test()
    first = knowledge.insert_backtest(given)
    assert knowledge.insert_backtest(given) == first
    named = given.replace(backtest_id="mine")
    assert knowledge.insert_backtest(named) == first
    assert knowledge.backtests() == [knowledge.backtest(first)]


@pytest.mark.requirement("KB-37", "Z-64")
def test_another_result_of_the_same_backtest_is_a_conflict_unless_it_is_a_rerun(
    lab, knowledge
) -> None:
    given = lab.test(backtest_id="bt-1")
    knowledge.insert_backtest(given)
    other = given.replace(backtest_id="bt-2", status="failed", error_code="E1")
    with pytest.raises(AlreadyExists, match=r"'bt-1'.*status, error_code.*rerun=True") as refused:
        knowledge.insert_backtest(other)
    assert isinstance(refused.value, Conflict)
    assert len(knowledge.backtests()) == 1
    assert knowledge.insert_backtest(other, rerun=True) == "bt-2"
    third = knowledge.insert_backtest(given.replace(backtest_id=None), rerun=True)
    assert third not in ("bt-1", "bt-2")
    alike = knowledge.reruns(knowledge.backtest("bt-1").reproducibility_key)
    assert alike[0].backtest_id == "bt-1"
    assert {each.backtest_id for each in alike} == {"bt-1", "bt-2", third}
    unnamed = other.replace(backtest_id=None)
    assert knowledge.insert_backtest(unnamed) == "bt-2"  # each equal one is known again


def test_another_backtest_under_a_stored_id_is_refused(lab, knowledge) -> None:
    knowledge.insert_backtest(lab.test(backtest_id="bt-1"))
    with pytest.raises(AlreadyExists, match=r"another .*data_version"):
        knowledge.insert_backtest(lab.test(backtest_id="bt-1", data_version="data-2"))


def test_a_backtest_needs_its_iteration_and_its_strategy(lab, knowledge) -> None:
    with pytest.raises(InvalidReference, match="iterations"):
        lab.backtest(iteration_id=99)
    with pytest.raises(InvalidReference, match="strategies"):
        lab.backtest(strategy_id="nobody")
    assert knowledge.backtests() == []


@pytest.mark.requirement("Z-60", "Z-61", api="Backtest.calc_contract_hash")
def test_the_contract_and_its_hash_agree(lab, knowledge) -> None:
    found = knowledge.backtest(lab.backtest())
    assert found.calc_contract_hash == content_hash(found.calc_contract)
    with pytest.raises(InvalidValue, match=r"Backtest\.calc_contract_hash"):
        lab.backtest(calc_contract_hash="0" * 64)


@pytest.mark.requirement("KB-6", "Z-60", api="KnowledgeStore.update_backtest")
def test_a_backtest_goes_on_but_stays_what_it_is(lab, knowledge) -> None:
    backtest_id = lab.backtest(status="running")
    knowledge.update_backtest(backtest_id, status="completed", artifacts_dir="raw/1")
    found = knowledge.backtest(backtest_id)
    assert (found.status, found.artifacts_dir) == ("completed", "raw/1")
    for status in ("failed", "pruned"):
        knowledge.update_backtest(backtest_id, status=status)
    with pytest.raises(InvalidValue, match=r"Backtest\.status"):
        knowledge.update_backtest(backtest_id, status="lost")
    assert knowledge.backtests(status="pruned") == [knowledge.backtest(backtest_id)]


@pytest.mark.requirement("KB-6")
def test_modes_and_statuses_can_be_added_to() -> None:
    import quantkeep

    more = {"backtests.status": ["queued"], "backtests.engine_mode": ["C"]}
    with quantkeep.open("memory://", choices=more) as keep:
        statuses = keep.table(Backtest).collection.column("status").choices
    assert statuses == ("running", "completed", "failed", "pruned", "queued")


@pytest.mark.requirement("Z-38", api="KnowledgeStore.backtests")
def test_listings_are_newest_first(lab, knowledge) -> None:
    ids = [lab.backtest() for _ in range(4)]
    listed = [each.backtest_id for each in knowledge.backtests(run_id=lab.run_id, limit=3)]
    assert listed == ids[:0:-1]
