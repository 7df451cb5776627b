"""A recorded research run, imported, read back and compared value by value."""

import json
import math
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import pytest

import quantkeep
from quantkeep import InvalidValue, NotFound, documents
from quantkeep.errors import AlreadyExists
from quantkeep.hosts import Hosts
from quantkeep.knowledge import Backtest, FailureTag, MetricValue, strategy_id
from quantkeep_plugins.importers.knowledge import import_chain

FILES = (
    "iterations",
    "strategies",
    "backtests",
    "scores",
    "failures",
    "constraint_sets",
    "provenance",
)


@pytest.fixture(params=["memory", "sqlite"])
def keep(request, tmp_path):
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/chain.db"
    with quantkeep.open(url) as opened:
        yield opened


class Source:
    """The files, as they are."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.run = json.loads((folder / "run.json").read_text())
        for name in FILES:
            lines = (folder / f"{name}.jsonl").read_text().splitlines()
            setattr(self, name, [json.loads(line) for line in lines])


@pytest.fixture(scope="session")
def source(real_data) -> Source:
    return Source(real_data / "runs" / "chain_a")


@pytest.fixture
def knowledge(keep, source):
    import_chain(source.folder, keep)
    return keep.knowledge


def same(found, said) -> bool:
    """Equal in value and type, NaN and signs of zero included."""
    return documents.encode(found, Hosts()) == documents.encode(said, Hosts())


def when(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


@pytest.mark.requirement("KB-3", "KB-4", "KB-5", "KB-1", "X-7")
def test_runs_iterations_and_strategies_come_back(knowledge, source) -> None:
    run = knowledge.run(UUID(source.run["run_id"]))
    assert same(run.config, source.run["config"])
    assert (run.status, run.engine_version) == ("DONE", source.run["engine_version"])
    assert run.details == {"pandas": source.run["pandas"], "numpy": source.run["numpy"]}
    assert run.envelope.created_at == when(source.run["created_at"])
    for said in source.iterations:
        found = knowledge.iteration(run.run_id, said["iteration_id"])
        assert same(found.summary, said["summary"])
        assert (found.started_at, found.ended_at, found.constraint_set_id_applied) == (
            when(said["started_at"]),
            when(said["ended_at"]),
            said["constraint_set_id_applied"],
        )
    for said in source.strategies:
        found = knowledge.strategy(said["strategy_id"])
        assert same(found.normalized_spec, said["normalized_spec"])
        assert strategy_id(said["normalized_spec"]) == said["strategy_id"]
        assert found.created_from == said["created_from"]
        assert found.envelope.created_at == when(said["created_at"])
    assert len(knowledge.strategies()) == len(source.strategies) == 84


@pytest.mark.requirement("KB-6", "KB-7", "Z-60", "Z-61", "X-1")
def test_backtests_and_metrics_come_back_bit_for_bit(knowledge, source) -> None:
    assert Counter(b.status for b in knowledge.backtests()) == {
        "completed": 181,
        "failed": 56,
        "pruned": 51,
    }
    for said in source.backtests:
        found = knowledge.backtest(said["backtest_id"])
        for name in ("iteration_id", "strategy_id", "engine_mode", "data_version", "bar_interval"):
            assert getattr(found, name) == said[name]
        assert same(found.model_versions, said["model_versions"])
        assert found.violated_constraints == said.get("violated_constraints")
        assert (found.status, found.artifacts_dir) == (said["status"], said["artifacts_dir"])
        assert found.details["period"] == [said["period_start"], said["period_end"]]
        assert found.period_start == when(said["period_start"])
        assert found.envelope.created_at == when(said["created_at"])
        for name in ("symbols", "bars", "wall_s", "error"):
            assert same(found.details[name], said[name])
        if said["metrics"] is not None:
            _compare_metrics(knowledge.metrics(said["backtest_id"]), said["metrics"], source, said)


def _compare_metrics(found, said, source, backtest) -> None:
    raw = json.loads((source.folder / backtest["artifacts_dir"] / "stats.json").read_text())
    assert same(found.details, said)
    assert same(found.details, raw)
    assert same(found.sharpe_net, said["Sharpe Ratio"])
    assert same(found.max_drawdown_net, abs(said["Max. Drawdown [%]"]) / 100)
    assert found.trades == said["# Trades"]
    assert found.calc_contract_hash


@pytest.mark.requirement("KB-8", "KB-24")
def test_scores_come_back_also_those_that_are_none(knowledge, source) -> None:
    nothing = 0
    for said in source.scores:
        found = knowledge.score(said["backtest_id"])
        assert same(found.score_total, said["score_total"])
        assert same(found.breakdown, said["breakdown"])
        assert (found.passed, found.fail_reasons) == (said["passed"], said["fail_reasons"])
        assert found.policy_version == said["policy_version"]
        nothing += found.score_total is None and math.isnan(found.breakdown["sharpe"])
    assert nothing == 33


@pytest.mark.requirement("KB-9", "KB-19", "KB-25")
def test_failures_and_their_tags_come_back(knowledge, keep, source) -> None:
    for said in source.failures:
        found = knowledge.failure(said["failure_id"])
        for name in ("backtest_id", "category", "tags", "severity", "summary", "state"):
            assert getattr(found, name) == said[name]
        assert found.confidence == said["confidence"]  # some are written as 1: a real is a float
        assert same(found.evidence, said["evidence"])
        assert found.evidence_pack_path == said["evidence_pack_path"]
        assert found.envelope.created_at == when(said["created_at"])
    assert len(knowledge.failures()) == len(source.failures) == 340
    assert keep.table(FailureTag).count() == sum(len(f["tags"]) for f in source.failures)


@pytest.mark.requirement("KB-10", "KB-11", "KB-26", "KB-38", "Z-63")
def test_constraint_sets_and_provenance_come_back(knowledge, source) -> None:
    for said in source.constraint_sets:
        found = knowledge.constraint_set(said["constraint_set_id"])
        assert (found.base_constraint_set_id, found.policy_version, found.state) == (
            said["base_constraint_set_id"],
            said["policy_version"],
            said["state"],
        )
        constraints = knowledge.constraints(said["constraint_set_id"])
        assert same([each.details for each in constraints], said["constraints"])
        limits = [each.params for each in constraints]
        assert [limit["param"] for limit in limits] == [c["param"] for c in said["constraints"]]
    names = ("constraint_set_id", "constraint_id", "failure_id", "mapping_rule")
    found_links = {
        tuple(getattr(p, n) for n in (*names, "created_at_iteration"))
        for p in knowledge.provenance()
    }
    said_links = {tuple(p[n] for n in (*names, "created_at_iteration")) for p in source.provenance}
    assert found_links == said_links
    assert len(knowledge.provenance()) == 76
    assert knowledge.constraints_without_provenance() == []


@pytest.mark.requirement("KB-21", "KB-39")
def test_what_the_run_counted_itself_is_what_the_store_answers(knowledge, source) -> None:
    tags = Counter(tag for failure in source.failures for tag in failure["tags"])
    assert {r.label: r.count for r in knowledge.repeat_failures(100)} == tags
    categories = Counter(failure["category"] for failure in source.failures)
    counted = knowledge.repeat_failures(3, by="category")
    assert [r.count for r in counted] == sorted(categories.values(), reverse=True)[:3]
    second, third = source.iterations[1:]
    found = knowledge.effectiveness("cs-chain_a_open-2")
    for figures, said in ((found.before, second["summary"]), (found.after, third["summary"])):
        assert {**figures.backtests} == {n: said[n] for n in ("completed", "failed", "pruned")}
        assert sum(figures.failures.values()) == said["failures"]


@pytest.mark.requirement("KB-17")
def test_the_top_strategies_are_those_of_the_files(knowledge, source) -> None:
    best: dict[str, float] = {}
    for said in source.backtests:
        sharpe = (said["metrics"] or {}).get("Sharpe Ratio", math.nan)
        if not math.isnan(sharpe):
            best[said["strategy_id"]] = max(sharpe, best.get(said["strategy_id"], -math.inf))
    expected = sorted(best.values(), reverse=True)
    ranked = knowledge.top_strategies(200, by="sharpe_net")
    assert [each.value for each in ranked] == expected
    assert {each.strategy_id: each.value for each in ranked} == best
    assert [r.value for r in knowledge.top_strategies(5, by="Sharpe Ratio")] == expected[:5]


@pytest.mark.requirement("KB-21", "KB-0")
def test_a_failure_is_followed_through_the_recorded_run(knowledge, source) -> None:
    first = source.provenance[0]
    (drawn,) = knowledge.lineage(first["failure_id"]).constraints
    assert drawn.carried_by == tuple(f"cs-chain_a_open-{n}" for n in (1, 2, 3))
    pruned = {each.iteration.iteration_id: each.pruned_by_it for each in drawn.applied_in}
    for number, count in pruned.items():
        assert count == sum(
            first["constraint_id"] in backtest.get("violated_constraints", ())
            for backtest in source.backtests
            if backtest["iteration_id"] == number
        )
    assert set(pruned) == {2, 3}


@pytest.mark.requirement("Z-64", "KB-37")
def test_an_import_made_again_adds_nothing(knowledge, keep, source) -> None:
    again = import_chain(source.folder, keep)
    assert again.added == 0
    assert keep.table(Backtest).count() == 288
    assert keep.table(MetricValue).count() > 181 * 20
    assert any("reruns" in note for note in again.notes)


# -- what a source can get wrong -------------------------------------------------------------------


@pytest.fixture
def damaged(source, tmp_path):
    """A copy of the files, the first line of one of them changed."""

    def make(name: str, line: str):
        for each in ("run.json", *(f"{file}.jsonl" for file in FILES)):
            text = (source.folder / each).read_text()
            first, _, rest = text.partition("\n")
            said = f"{line}\n{rest}" if each == f"{name}.jsonl" else f"{first}\n{rest}"
            (tmp_path / each).write_text(said)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("failures", "{", r"failures\.jsonl:1 is no JSON"),
        ("strategies", "[1]", r"strategies\.jsonl:1 is a list"),
        ("strategies", '{"strategy_id": "x"}', r"strategies\.created_from: is missing .* of 'x'"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_place(keep, damaged, name, line, said) -> None:
    with pytest.raises(InvalidValue, match=said):
        import_chain(damaged(name, line), keep)


def test_a_missing_file_is_named(keep, tmp_path) -> None:
    with pytest.raises(NotFound, match=r"run\.json"):
        import_chain(tmp_path, keep)


def test_another_body_under_a_recorded_id_is_refused(knowledge, keep, source, damaged) -> None:
    failure = {**source.failures[0], "summary": "something else"}
    with pytest.raises(AlreadyExists, match="another summary"):
        import_chain(damaged("failures", json.dumps(failure)), keep)
