"""Metrics, scores, robustness cases, reports."""

import math
import struct

import pytest

from quantkeep import InvalidValue
from quantkeep.errors import AlreadyExists, InvalidReference
from quantkeep.knowledge import Metrics, MetricValue, Report, RobustnessCase, Score

SCORE = Score(score_total=0.2, passed=True, policy_version="score_v1")


@pytest.mark.requirement("KB-7", "KB-29", api="KnowledgeStore.save_metrics")
def test_metrics_come_back_bit_for_bit(lab, knowledge, make_metrics) -> None:
    backtest_id = lab.backtest()
    given = make_metrics(
        total_return=-0.0, cagr=0.0194, volatility=0.178, sharpe_net=math.nan, sortino_net=math.inf,
        calmar_net=0.044, max_drawdown_net=0.4418, profit_factor=2.4, win_rate=0.8, exposure=0.48,
        trades=5, metrics_json_path="raw/stats.json", quality_warnings=["5 trades < 10"],
        details={"Sharpe Ratio": math.nan, "# Trades": 5, "Start": "2004-08-19", "x": -0.0},
    )  # fmt: skip
    knowledge.save_metrics(backtest_id, given)
    found = knowledge.metrics(backtest_id)
    assert found.backtest_id == backtest_id
    for name in ("total_return", "sharpe_net", "sortino_net"):
        assert _bits(getattr(found, name)) == _bits(getattr(given, name))
    assert repr(found.details) == repr(dict(sorted(given.details.items())))
    assert (found.trades, found.quality_warnings) == (5, ["5 trades < 10"])
    assert (found.metrics_json_path, found.max_drawdown_net) == ("raw/stats.json", 0.4418)
    assert (found.run_id, found.iteration_id) == (lab.run_id, 1)


def _bits(number: float) -> bytes:
    return struct.pack(">d", number)


@pytest.mark.requirement("KB-7", api="MetricValue")
def test_every_number_of_the_details_is_kept_by_name(lab, knowledge, keep, make_metrics) -> None:
    backtest_id = lab.backtest()
    details = {"SQN": 1.5, "# Trades": 7, "huge": 10**18, "Start": "2004", "ok": True, "n": None}
    knowledge.save_metrics(backtest_id, make_metrics(details=details))
    values = {each.name: each.value for each in keep.table(MetricValue).list()}
    assert values == {"SQN": 1.5, "# Trades": 7.0, "huge": 1e18}
    assert knowledge.metrics(backtest_id).details == details


@pytest.mark.requirement("KB-23", "Z-61", api="KnowledgeStore.save_metrics")
def test_metrics_under_another_contract_are_refused(lab, knowledge) -> None:
    backtest_id = lab.backtest()
    with pytest.raises(InvalidValue, match="another contract") as refused:
        knowledge.save_metrics(backtest_id, Metrics(calc_contract_hash="0" * 64))
    assert (refused.value.record, refused.value.field) == ("Metrics", "calc_contract_hash")
    with pytest.raises(InvalidValue, match=r"Metrics\.calc_contract_hash: is required"):
        knowledge.save_metrics(backtest_id, Metrics())
    assert knowledge.table(Metrics).count() == 0


@pytest.mark.requirement("Z-61", api="Metrics.max_drawdown_net")
def test_a_drawdown_is_a_positive_fraction(make_metrics) -> None:
    with pytest.raises(InvalidValue, match=r"Metrics\.max_drawdown_net.*positive"):
        make_metrics(max_drawdown_net=-0.25)
    assert make_metrics(max_drawdown_net=0.0).max_drawdown_net == 0.0


def test_metrics_need_their_backtest_and_are_stored_once(lab, knowledge, make_metrics) -> None:
    with pytest.raises(InvalidReference, match=r"metrics\.backtest_id.*'nothing'"):
        knowledge.save_metrics("nothing", make_metrics())
    backtest_id = lab.backtest()
    first = make_metrics(sharpe_net=math.nan, details={"SQN": 1.0})
    knowledge.save_metrics(backtest_id, first)
    knowledge.save_metrics(backtest_id, first)
    assert knowledge.metrics(backtest_id).revision == 1
    with pytest.raises(AlreadyExists, match="another sharpe_net"):
        knowledge.save_metrics(backtest_id, first.replace(sharpe_net=0.5))


@pytest.mark.requirement("KB-8", "KB-30", api="KnowledgeStore.save_score")
def test_a_score_keeps_its_verdict_and_its_reasons(lab, knowledge, make_metrics) -> None:
    backtest_id = lab.backtest()
    knowledge.save_metrics(backtest_id, make_metrics())
    given = Score(
        score_total=None, breakdown={"sharpe": math.nan, "dd": -0.0}, passed=False,
        fail_reasons=["METRIC_UNDEFINED"], policy_version="score_v1",
    )  # fmt: skip
    knowledge.save_score(backtest_id, given)
    found = knowledge.score(backtest_id)
    assert repr(found.breakdown) == repr(dict(sorted(given.breakdown.items())))
    assert (found.score_total, found.passed, found.fail_reasons) == (
        None, False, ["METRIC_UNDEFINED"]
    )  # fmt: skip
    assert found.policy_version == "score_v1"


@pytest.mark.requirement("KB-24", api="KnowledgeStore.save_score")
def test_a_score_without_metrics_is_refused(lab, knowledge, keep) -> None:
    backtest_id = lab.backtest()
    with pytest.raises(InvalidReference, match=r"scores\.backtest_id refers to metrics"):
        knowledge.save_score(backtest_id, SCORE)
    placed = SCORE.replace(
        backtest_id=backtest_id, run_id=lab.run_id, iteration_id=1,
        strategy_id=knowledge.backtest(backtest_id).strategy_id,
    )  # fmt: skip
    with pytest.raises(InvalidReference, match="metrics"):  # nor past the store
        keep.commit(keep.table(Score).put(placed))
    assert knowledge.table(Score).count() == 0


def test_a_score_changes_only_by_scoring_again(lab, knowledge) -> None:
    backtest_id = lab.result(score=0.2)
    knowledge.save_score(backtest_id, SCORE)
    other = SCORE.replace(score_total=0.9, policy_version="score_v2")
    with pytest.raises(AlreadyExists, match=r"another score_total, policy_version"):
        knowledge.save_score(backtest_id, other)
    knowledge.rescore(backtest_id, other)
    assert knowledge.score(backtest_id).policy_version == "score_v2"
    with pytest.raises(InvalidReference, match="metrics"):
        knowledge.rescore("nothing", other)


@pytest.mark.requirement("KB-13", api="KnowledgeStore.save_robustness_cases")
def test_robustness_cases_are_saved_together(lab, knowledge) -> None:
    backtest_id = lab.backtest()
    cases = [
        RobustnessCase(case_id="cost-x2", type="cost_stress", params={"x": 2}, passed=True),
        RobustnessCase(case_id="shift", type="entry_shift", metrics_ref="raw/s.json", passed=False),
    ]
    knowledge.save_robustness_cases(backtest_id, cases)
    found = knowledge.robustness_cases(backtest_id)
    assert [(c.case_id, c.type, c.params, c.metrics_ref, c.passed) for c in found] == [
        ("cost-x2", "cost_stress", {"x": 2}, None, True),
        ("shift", "entry_shift", {}, "raw/s.json", False),
    ]
    assert knowledge.robustness_cases(backtest_id, passed=False) == found[1:]
    with pytest.raises(InvalidReference, match=r"robustness_cases\.backtest_id"):
        knowledge.save_robustness_cases("nothing", cases)


@pytest.mark.requirement("KB-14", "KB-35", api="KnowledgeStore.save_report")
def test_reports_and_artifacts_are_kept_as_references(lab, knowledge) -> None:
    backtest_id = lab.backtest(artifacts_dir="raw/1/", artifact_ref="result-1")
    report_id = knowledge.save_report(
        Report(
            run_id=lab.run_id, backtest_id=backtest_id, tearsheet_pdf_path="r/1.pdf",
            summary_json_path="r/1.json", doc_store_id="doc-1",
        )
    )  # fmt: skip
    (found,) = knowledge.reports(backtest_id=backtest_id)
    assert found.report_id == report_id
    assert (found.tearsheet_pdf_path, found.summary_json_path, found.doc_store_id) == (
        "r/1.pdf", "r/1.json", "doc-1"
    )  # fmt: skip
    backtest = knowledge.backtest(backtest_id)
    assert (backtest.artifacts_dir, backtest.artifact_ref) == ("raw/1/", "result-1")
    with pytest.raises(InvalidReference, match="backtests"):
        knowledge.save_report(Report(run_id=lab.run_id, backtest_id="nothing"))
