"""The two-run life of predictions, on real prices."""

import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

import quantkeep
from quantkeep_plugins.demo.prices import trading_days

PROGRAM = Path(__file__).parents[1] / "prediction_life.py"


def run(url: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), url], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def close(day: date, ticker: str) -> Decimal:
    return next(d.bars[ticker].close for d in trading_days() if d.date == day)


@pytest.mark.requirement("MARA-32", "MARA-35", api="PredictionStore")
def test_two_runs(tmp_path):
    url = f"sqlite:///{tmp_path}/predictions.db"
    lines = run(url)
    assert lines[0].startswith("2012-10-01: marv_2012-10-01 expects ")
    with quantkeep.open(url) as keep:
        store = keep.predictions
        first, second = store.recent_predictions("marv")
        assert first.report_markdown.startswith("# Recommendation of 2012-10-01")
        result = store.result(first.prediction_id)
        # what came, reckoned from the prices alone
        held = {t: w for t, w in first.target_allocation.items() if t != "cash"}
        moves = {
            t: float(close(date(2012, 10, 31), t) / close(date(2012, 10, 1), t)) - 1 for t in held
        }
        assert float(result.actual_return) == pytest.approx(sum(held[t] * moves[t] for t in held))
        assert result.return_error == result.actual_return - first.expected_return
        assert result.actual_max_dd < 0 < result.actual_volatility
        # what was learned went into the second prediction
        assert second.snapshot_data["errors"] == {first.prediction_id: result.return_error}
        weights = {a.agent_name: a.current_weight for a in store.agents("marv")}
        said = store.agent_predictions(second.prediction_id)
        assert {a.agent_name: float(a.agent_weight) for a in said} == {
            name: float(weight) for name, weight in weights.items()
        }
        assert weights["reversal_agent"] > weights["trend_agent"]
        assert [p.prediction_id for p in store.pending()] == [second.prediction_id]
        assert len(store.agent_evaluations("marv", as_of=date(2012, 11, 1))) == 2


@pytest.mark.requirement("MARA-32", "MARA-35", api="PredictionStore")
def test_the_same_on_every_backend(tmp_path):
    lines = run("memory://")
    assert lines == run(f"sqlite:///{tmp_path}/predictions.db")
