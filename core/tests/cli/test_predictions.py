"""Predictions from the command line: listed, pending, looked back on."""

import json
from datetime import date
from decimal import Decimal

import pytest

import quantkeep

AGENTS = {"monetary_agent": {"accuracy": 0.75, "impact": 0.02}}


@pytest.fixture
def url(tmp_path):
    """A keep with predictions of three months, the second of which was looked back on."""
    url = f"sqlite:///{tmp_path / 'mara.db'}"
    with quantkeep.open(url) as keep:
        store = keep.predictions
        for user in ("marv", "parents"):
            store.save_user(user, name=user.title(), profile="growth", flow="growth")
            held = store.save_portfolio(
                user_id=user, snapshot_date=date(2025, 1, 1), holdings={"cash": {"value": 1}}
            )
            for month in (1, 2, 3) if user == "marv" else (2,):
                store.save_prediction(
                    user_id=user,
                    prediction_date=date(2025, month, 17),
                    input_portfolio_id=held.id,
                    expected_metrics={"return": Decimal("0.09")},
                )
        store.save_result("marv_2025-02-17", end_date=date(2025, 3, 17))
    return url


def names(result):
    assert result.code == 0, result.err
    return [row["prediction_id"] for row in result.rows]


@pytest.mark.requirement("MARA-38", api="quantkeep predictions list")
def test_list(cli, url):
    listed = ("predictions", "list", url, "-f", "json")
    every = ["marv_2025-01-17", "marv_2025-02-17", "parents_2025-02-17", "marv_2025-03-17"]
    assert names(cli(*listed)) == every
    assert names(cli(*listed, "--limit", 2)) == every[2:]
    assert names(cli(*listed, "--user", "marv", "--until", "2025-02-17")) == every[:2]
    assert names(cli(*listed, "--since", "2025-02-18")) == every[3:]
    assert names(cli(*listed, "--flow", "income")) == []
    assert "marv_2025-03-17" in cli("predictions", "list", url).out


@pytest.mark.requirement("MARA-38", "MARA-21", "MARA-U4", api="quantkeep predictions pending")
def test_pending(cli, url):
    waiting = ("predictions", "pending", url, "-f", "json")
    assert names(cli(*waiting)) == ["marv_2025-01-17", "parents_2025-02-17", "marv_2025-03-17"]
    assert names(cli(*waiting, "-u", "marv", "--older-than", 30, "--as-of", "2025-02-16")) == [
        "marv_2025-01-17"
    ]
    assert names(cli(*waiting, "--older-than", 30, "--as-of", "2025-02-15")) == []
    assert len(names(cli(*waiting, "--older-than", 30))) == 3
    assert cli(*waiting[:-2]).out.startswith("Pending predictions of sqlite:///")


@pytest.mark.requirement("MARA-38", "MARA-U4", api="quantkeep predictions calibration")
def test_calibration(cli, url):
    with quantkeep.open(url) as keep:
        for user, came in (("marv", "0.10"), ("parents", "0.04")):
            keep.predictions.save_result(
                f"{user}_2025-02-17", end_date=date(2025, 3, 18), actual_return=Decimal(came)
            )
    asked = ("predictions", "calibration", url, "-f", "json")
    (whole,) = cli(*asked).rows
    assert (whole["count"], whole["expected"], whole["actual"]) == (2, 0.09, 0.07)
    rows = cli(*asked, "--by", "user", "--by", "month").rows
    assert [(row["user"], row["month"], row["error"]) for row in rows] == [
        ("marv", "2025-02", 0.01),
        ("parents", "2025-02", -0.05),
    ]
    (mine,) = cli(*asked, "--user", "marv", "--since", "2025-02-01", "--until", "2025-02-28").rows
    assert mine["absolute_error"] == 0.01
    assert cli(*asked, "--since", "2025-03-01").rows == []
    assert cli(*asked, "--by", "weather").code == 2


@pytest.mark.requirement("MARA-38", "MARA-29", "MARA-30", api="quantkeep predictions retrospect")
def test_retrospect(cli, url, tmp_path):
    (tmp_path / "agents.json").write_text(json.dumps(AGENTS))
    command = (
        "predictions", "retrospect", url, "-p", "marv_2025-01-17", "--end-date", "2025-02-17",
        "--actual-return", "0.06", "--actual-max-dd", "-0.12", "--accuracy", "0.67",
        "--attribution", "agents.json", "--weigh", "--op-id", "retro-1",
    )  # fmt: skip
    (row,) = cli(*command, "-f", "json").rows
    assert row["result_id"] == "result_marv_2025-01-17"
    assert Decimal(str(row["return_error"])) == Decimal("-0.03")
    again = cli(*command)
    assert (again.code, "nothing was changed" in again.out) == (0, True)
    with quantkeep.open(url) as keep:
        (result,) = keep.predictions.results("marv_2025-01-17")
        assert result.agent_attribution == AGENTS
        assert keep.predictions.agent_stats("marv", "monetary_agent").total_predictions == 1
        assert "marv_2025-01-17" not in [p.prediction_id for p in keep.predictions.pending()]


@pytest.mark.requirement("MARA-38", api="quantkeep predictions retrospect")
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("-p", "nothing"), "nothing"),
        (("--accuracy", "1.5"), "prediction_accuracy"),
        (("--actual-return", "six"), "six"),
        (("--end-date", "17.2.2025"), "17.2.2025"),
        (("--weigh",), "--attribution"),
        (("--attribution", "list.json"), "list.json"),
    ],
)
def test_retrospect_refuses(cli, url, tmp_path, changed, said):
    (tmp_path / "list.json").write_text("[]")
    command = ["-p", "marv_2025-01-17", "--end-date", "2025-02-17", "--actual-return", "0.06"]
    done = cli("predictions", "retrospect", url, *command, *changed)
    assert (done.code, said in done.err) == (2, True)
    assert len(names(cli("predictions", "pending", url, "-f", "json"))) == 3


def test_a_keep_that_is_not_there(cli, tmp_path):
    for command in (("list",), ("pending",)):
        assert cli("predictions", *command, f"sqlite:///{tmp_path}/none.db").code == 2
    assert not (tmp_path / "none.db").exists()
