"""Predictions on this backend: what was expected, how it turned out, who was right (MARA, Z-20)."""

from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from quantkeep import Capability, Conflict, Keep
from quantkeep.errors import InvalidReference
from quantkeep.predictions import AgentEvaluation, AgentPerformance, PerformanceResult
from quantkeep_conformance.clauses import Suite, requires
from quantkeep_conformance.exactness import assert_same, same
from quantkeep_conformance.places import Place
from quantkeep_conformance.suites.helpers import at_once, started

DAY = date(2025, 1, 17)
LATER: dict[str, Any] = {"end_date": date(2025, 2, 17), "actual_return": Decimal("0.0612345678")}
RETURN = Decimal("0.0912345678")
EXPECTED = {"XLK": 0.30, "cash": 0.15, "AGG": -0.0}


def predict(keep: Keep, day: date = DAY, **said: Any) -> str:
    """A prediction for marv, who is there from then on; its id."""
    store = keep.predictions
    store.save_user("marv", name="Marv", profile="growth", flow="growth")
    holdings = {"SPY": {"shares": 100, "value": 45_000_000, "cost_basis": 40_000_000}}
    held = store.save_portfolio(user_id="marv", snapshot_date=day, holdings=holdings)
    known: dict[str, Any] = {
        "user_id": "marv",
        "prediction_date": day,
        "input_portfolio_id": held.id,
        "recommended_strategy": "Balanced Growth",
        "target_allocation": EXPECTED,
        "expected_metrics": {"return": RETURN},
    }
    return store.save_prediction(**{**known, **said}).id


def opine(keep: Keep, prediction: str, agent: str) -> str:
    """An agent's part in a prediction; its id."""
    return keep.predictions.save_agent_prediction(
        prediction_id=prediction,
        layer="macro",
        agent_name=agent,
        prediction_data={"stance": "hawkish"},
        expected_return=Decimal("0.08"),
    ).id


class Predictions(Suite):
    """The prediction store, as it is on this backend."""

    family = "predictions"
    built_on_others: ClassVar[bool] = True

    @pytest.mark.requirement("MARA-29")
    def test_everything_comes_back(self, whole_keep: Keep) -> None:
        """A prediction comes back with each Decimal and each part of its documents."""
        identifier = predict(whole_keep)
        opinion = opine(whole_keep, identifier, "monetary")
        found = whole_keep.predictions.prediction(identifier)
        assert found is not None
        assert found.expected_return == RETURN
        assert same(found.target_allocation, EXPECTED)
        by_agent = whole_keep.predictions.agent_prediction(opinion)
        assert by_agent is not None
        assert by_agent.expected_return == Decimal("0.08")
        whole_keep.predictions.save_result(identifier, **LATER)
        result = whole_keep.predictions.result(identifier)
        assert result is not None
        assert result.actual_return == LATER["actual_return"]
        assert_same(result, whole_keep.predictions.results(identifier)[-1])

    @pytest.mark.requirement("X-1")
    def test_large_figures_fit(self, whole_keep: Keep) -> None:
        """Figures of 10 and more, such as a Sharpe ratio of 12.5, come back as they were."""
        identifier = predict(whole_keep)
        whole_keep.predictions.save_result(
            identifier, end_date=LATER["end_date"], actual_return=Decimal("12.5")
        )
        found = whole_keep.predictions.result(identifier)
        assert found is not None
        assert found.actual_return == Decimal("12.5")

    @pytest.mark.requirement("MARA-21")
    def test_pending_is_exact(self, whole_keep: Keep) -> None:
        """Pending are the predictions without a result, oldest first, and no others."""
        store = whole_keep.predictions
        made = [predict(whole_keep, date(2025, 1, day)) for day in (20, 3, 11)]
        assert [p.prediction_id for p in store.pending()] == [made[1], made[2], made[0]]
        store.save_result(made[2], **LATER)
        assert [p.prediction_id for p in store.pending()] == [made[1], made[0]]

    @pytest.mark.requirement("MARA-U4")
    def test_retrospection_is_one_commit(self, whole_keep: Keep) -> None:
        """A retrospection is there with its result, evaluations and weights, or none of it is."""
        store, identifier = whole_keep.predictions, predict(whole_keep)
        opinions = [opine(whole_keep, identifier, name) for name in ("a", "b")]
        scores = {name: {"accuracy": Decimal("0.75")} for name in ("a", "b")}
        evaluations: dict[str, Any] = {one: {"accuracy_score": Decimal("0.75")} for one in opinions}
        wrong = {**evaluations, "nobody's": {}}
        about: dict[str, Any] = {
            **LATER,
            "prediction_accuracy": Decimal("0.67"),
            "agent_scores": scores,
        }
        with pytest.raises(InvalidReference):
            store.retrospect(identifier, evaluations=wrong, **about)
        assert self._counts(whole_keep) == (0, 0, 0)
        store.retrospect(identifier, evaluations=evaluations, **about)
        assert self._counts(whole_keep) == (1, 2, 2)

    def _counts(self, keep: Keep) -> tuple[int, ...]:
        kinds = PerformanceResult, AgentEvaluation, AgentPerformance
        return tuple(keep.table(kind).count() for kind in kinds)

    @pytest.mark.requirement("MARA-30")
    def test_no_score_is_lost(self, whole_keep: Keep) -> None:
        """Analysts who count scores at once in one program lose none of them."""
        store = whole_keep.predictions
        predict(whole_keep)

        def count(thread: int) -> int:
            done = 0
            while done < 5:
                try:
                    store.update_agent_weights("marv", {"agent": {"accuracy": 1}})
                    done += 1
                except Conflict:
                    continue
            return done

        assert sum(at_once(3, count)) == 15
        self._hold_count(whole_keep, 15)

    @pytest.mark.requirement("MARA-30")
    @requires(Capability.MULTI_PROCESS)
    def test_no_score_is_lost_between_processes(self, place: Place) -> None:
        """Analysts who count scores at once in several processes lose none of them."""
        keep = place.open_whole()
        predict(keep)
        children = [place.child("weigh", times=4) for _ in range(3)]
        for child in started(children):
            child.expect("done")
        self._hold_count(keep, 12)

    def _hold_count(self, keep: Keep, wanted: int) -> None:
        found = keep.predictions.agent_stats("marv", "agent")
        assert found is not None
        assert found.total_predictions == wanted

    @pytest.mark.requirement("MARA-U4")
    def test_calibration(self, whole_keep: Keep) -> None:
        """Predicted against actual, by month, is what adding it up exactly gives."""
        for day, actual in ((3, "0.1"), (4, "0.2"), (5, "0.4")):
            identifier = predict(whole_keep, date(2025, 1, day))
            about = {**LATER, "actual_return": Decimal(actual)}
            whole_keep.predictions.save_result(identifier, **about)
        (found,) = whole_keep.predictions.calibration(by=("month",))
        assert found.count == 3
        assert found.actual is not None
        assert abs(found.actual * 3 - Decimal("0.7")) < Decimal("1e-30")
