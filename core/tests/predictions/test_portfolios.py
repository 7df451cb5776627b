"""Portfolio snapshots: shapes, derived values, ids of second runs, histories."""

from datetime import date
from decimal import Decimal

import pytest

from quantkeep import Conflict, InvalidValue
from quantkeep.errors import InvalidReference
from quantkeep.predictions import Portfolio

DAY = date(2025, 1, 17)


@pytest.mark.requirement("MARA-3", "MARA-5", "MARA-14", "MARA-15", api="PredictionStore.portfolio")
def test_snapshot_comes_back(desk, predictions):
    holdings = {"SPY": {"shares": 1.5, "value": Decimal("675.10")}, "cash": {"value": 324.9}}
    saved = desk.snapshot(
        portfolio_id="550e8400-e29b-41d4-a716-446655440001",
        portfolio_type="recommended",
        total_value=Decimal("1000.00"),
        holdings=holdings,
        allocation={"SPY": 0.675, "cash": 0.325},
        metadata={"broker": "예측", "nan": float("nan")},
    )
    found = predictions.portfolio("550e8400-e29b-41d4-a716-446655440001")
    assert found.holdings == holdings
    assert type(found.holdings["SPY"]["value"]) is Decimal
    assert found.allocation == {"SPY": 0.675, "cash": 0.325}
    assert found.total_value == Decimal(1000)
    assert found.metadata["broker"] == "예측"
    assert found.metadata["nan"] != found.metadata["nan"]
    assert saved.id == found.portfolio_id
    assert predictions.portfolio("nothing") is None


@pytest.mark.requirement("MARA-25", "Z-20", api="PredictionStore.save_portfolio")
def test_allocation_and_total_are_derived(desk, predictions):
    found = predictions.portfolio("marv_2025-01-17_current")
    assert found.allocation == {"SPY": 0.45, "QQQ": 0.22, "cash": 0.33}
    assert found.total_value == Decimal(100000000)


@pytest.mark.requirement("MARA-3", api="PredictionStore.save_portfolio")
def test_total_is_exact_to_the_cent_or_left_out(desk):
    fine = {"BTC": {"shares": 1, "value": Decimal("0.001")}, "cash": {"value": 1}}
    assert desk.snapshot(portfolio_id="fine", holdings=fine).record.total_value is None
    most = Decimal("9999999999999.99")
    largest = desk.snapshot(portfolio_id="most", total_value=most).id
    assert desk.store.portfolio(largest).total_value == most
    for wrong in (Decimal(10000000000000), Decimal("0.001")):
        with pytest.raises(InvalidValue, match=r"Portfolio\.total_value"):
            desk.snapshot(portfolio_id="wrong", total_value=wrong)


@pytest.mark.requirement("Z-25", "MARA-5", api="PredictionStore.save_portfolio")
def test_cost_basis_is_optional(desk):
    saved = desk.snapshot(portfolio_id="p", holdings={"SPY": {"shares": 1, "value": 2}})
    assert saved.record.allocation == {"SPY": 1.0}


@pytest.mark.requirement("MARA-5", api="PredictionStore.save_portfolio")
@pytest.mark.parametrize(
    ("holdings", "field"),
    [
        ({"SPY": {"shares": 1}}, "holdings['SPY'].value"),
        ({"SPY": {"value": 1}}, "holdings['SPY'].shares"),
        ({"SPY": {"shares": 1, "value": "45"}}, "holdings['SPY'].value"),
        ({"SPY": {"shares": True, "value": 1}}, "holdings['SPY'].shares"),
        ({"SPY": {"shares": float("nan"), "value": 1}}, "holdings['SPY'].shares"),
        ({"cash": {}}, "holdings['cash'].value"),
        ({"SPY": 3}, "holdings['SPY']"),
        ([], "holdings"),
        ({"SPY": {"shares": 1, "value": 1}, "TLT": {"shares": -1, "value": -1}}, "allocation"),
    ],
)
def test_wrong_holdings_are_named(desk, predictions, holdings, field):
    with pytest.raises(InvalidValue) as raised:
        desk.snapshot(portfolio_id="wrong", holdings=holdings)
    assert (raised.value.record, raised.value.field) == ("Portfolio", field)
    assert predictions.portfolio("wrong") is None


@pytest.mark.requirement("MARA-5", api="PredictionStore.save_portfolio")
def test_wrong_allocation_is_named(desk):
    with pytest.raises(InvalidValue, match=r"Portfolio\.allocation\['SPY'\]"):
        desk.snapshot(portfolio_id="wrong", allocation={"SPY": "half"})


@pytest.mark.requirement("Z-21", "MARA-4", api="PredictionStore.save_portfolio")
def test_second_snapshot_of_a_day_is_numbered(desk, predictions):
    other = {"cash": {"value": 5}}
    second = desk.snapshot(holdings=other)
    assert (second.id, second.record.sequence) == ("marv_2025-01-17_current_2", 2)
    recommended = desk.snapshot(portfolio_type="recommended")
    assert (recommended.id, recommended.record.sequence) == ("marv_2025-01-17_recommended", 1)
    again = desk.snapshot(holdings=other)
    assert (again.id, again.receipt.added) == (second.id, 0)
    assert len(predictions.portfolio_history("marv")) == 3


@pytest.mark.requirement("Z-21", api="PredictionStore.save_portfolio")
def test_same_id_with_other_content_is_a_conflict(desk, predictions):
    before = predictions.portfolio("marv_2025-01-17_current")
    with pytest.raises(Conflict, match="marv_2025-01-17_current"):
        desk.snapshot(portfolio_id="marv_2025-01-17_current", holdings={"cash": {"value": 5}})
    assert predictions.portfolio("marv_2025-01-17_current") == before


@pytest.mark.requirement("MARA-4", api="Portfolio")
def test_user_day_type_and_sequence_are_unique(desk, predictions):
    first = predictions.portfolio("marv_2025-01-17_current")
    with pytest.raises(Conflict):
        predictions.insert([first.replace(portfolio_id="another id")])


@pytest.mark.requirement("Z-21", "MARA-4", api="PredictionStore.save_portfolio")
def test_own_id_takes_the_next_number(desk, predictions):
    named = desk.snapshot(portfolio_id="mine", holdings={"cash": {"value": 5}})
    assert named.record.sequence == 2
    assert desk.snapshot(portfolio_id="mine", holdings={"cash": {"value": 5}}).receipt.added == 0
    third = desk.snapshot(holdings={"cash": {"value": 6}})
    assert third.record.sequence == 3


@pytest.mark.requirement("MARA-16", api="PredictionStore.latest_portfolio")
def test_latest_is_by_day_and_sequence_not_by_when_it_was_stored(desk, predictions):
    desk.snapshot(holdings={"cash": {"value": 2}})
    desk.snapshot(snapshot_date=date(2024, 12, 1))  # entered late
    desk.snapshot(snapshot_date=date(2025, 3, 1), portfolio_type="recommended")
    assert predictions.latest_portfolio("marv").portfolio_id == "marv_2025-01-17_current_2"
    recommended = predictions.latest_portfolio("marv", "recommended")
    assert recommended.snapshot_date == date(2025, 3, 1)
    assert predictions.latest_portfolio("parents") is None


@pytest.mark.requirement("MARA-17", "Z-38", api="PredictionStore.portfolio_history")
def test_history_is_the_newest_oldest_first(desk, predictions):
    for day in (20, 19, 18):
        desk.snapshot(snapshot_date=date(2025, 1, day))
    newest = predictions.portfolio_history("marv", limit=3)
    assert [p.snapshot_date.day for p in newest] == [18, 19, 20]
    assert [p.snapshot_date.day for p in predictions.portfolio_history("marv")] == [17, 18, 19, 20]
    assert predictions.portfolio_history("parents") == []


@pytest.mark.requirement("X-5", "MARA-3", api="Portfolio")
def test_type_is_one_of_the_known(desk):
    with pytest.raises(InvalidValue) as raised:
        desk.snapshot(portfolio_type="curent")
    assert raised.value.field == "portfolio_type"
    assert "'current', 'recommended'" in str(raised.value)


@pytest.mark.requirement("MARA-34", "MARA-3", api="PredictionStore.save_portfolio")
def test_user_must_exist(desk, predictions):
    with pytest.raises(InvalidReference, match="users"):
        desk.snapshot(user_id="nobody")
    assert predictions.table(Portfolio).count() == 1
