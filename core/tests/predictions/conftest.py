"""A keep on each backend, with the users of the original design and a portfolio to predict from."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

import quantkeep
from quantkeep import Keep
from quantkeep.predictions import PredictionStore

DAY = date(2025, 1, 17)
HOLDINGS = {
    "SPY": {"shares": 100, "value": 45000000, "cost_basis": 40000000},
    "QQQ": {"shares": 50, "value": 22000000, "cost_basis": 18000000},
    "cash": {"value": 33000000},
}


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/mara.db"


@pytest.fixture
def keep(url) -> Iterator[Keep]:
    with quantkeep.open(url) as opened:
        yield opened


class Desk:
    """Somebody who predicts; every call may change any part of what is said."""

    def __init__(self, store: PredictionStore) -> None:
        self.store = store

    def open(self) -> "Desk":
        self.store.save_user("marv", name="Marv", profile="growth", flow="growth")
        self.store.save_user("parents", name="Parents", profile="income", flow="income")
        self.snapshot()
        return self

    def snapshot(self, **said: Any):
        known = {"user_id": "marv", "snapshot_date": DAY, "holdings": HOLDINGS}
        return self.store.save_portfolio(**{**known, **said})

    def predict(self, **said: Any):
        known = {
            "user_id": "marv",
            "prediction_date": DAY,
            "input_portfolio_id": "marv_2025-01-17_current",
            "recommended_strategy": "Balanced Growth",
            "target_allocation": {"cash": 0.15, "XLK": 0.30, "XLV": 0.25, "AGG": 0.15, "XLF": 0.15},
            "expected_metrics": {"return": Decimal("0.09")},
        }
        return self.store.save_prediction(**{**known, **said})

    def opine(self, prediction_id: str = "marv_2025-01-17", **said: Any):
        known = {
            "prediction_id": prediction_id,
            "layer": "macro",
            "agent_name": "monetary_agent",
            "prediction_data": {"stance": "hawkish"},
            "expected_return": Decimal("0.08"),
        }
        return self.store.save_agent_prediction(**{**known, **said})

    def judge(self, prediction_id: str = "marv_2025-01-17", **said: Any):
        known = {
            "end_date": date(2025, 2, 17),
            "actual_return": Decimal("0.06"),
            "prediction_accuracy": Decimal("0.67"),
        }
        return self.store.save_result(prediction_id, **{**known, **said})


@pytest.fixture
def predictions(keep) -> PredictionStore:
    return keep.predictions


@pytest.fixture
def desk(predictions) -> Desk:
    """A desk with both users, and a snapshot of marv's portfolio."""
    return Desk(predictions).open()


@pytest.fixture
def meanwhile(keep, monkeypatch):
    """Lets another writer act between what the next call reads and what it commits."""
    engine = keep.backend.engine
    commit = engine.commit
    waiting: list[Any] = []

    def interrupted(batch):
        if waiting:
            waiting.pop()()
        return commit(batch)

    monkeypatch.setattr(engine, "commit", interrupted)
    return waiting.append
