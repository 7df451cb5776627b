"""Operation ids and batches: retried safely, applied together, never half."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from quantkeep import Corrupt, Unsupported
from quantkeep.errors import InvalidReference, OperationConflict, StillReferenced
from quantkeep.predictions import Portfolio, Prediction

DAY = date(2025, 1, 17)


@pytest.mark.requirement("Z-10", "Z-45", api="PredictionStore.save_prediction")
def test_a_retry_gives_the_first_receipt(desk, predictions):
    first = desk.predict(op_id="op-1")
    predictions.attach_report(first.id, markdown="meanwhile")
    again = desk.predict(op_id="op-1")
    assert (again.id, again.receipt.replayed) == (first.id, True)
    assert again.receipt.revisions == first.receipt.revisions
    second = desk.predict(op_id="op-2", flow="overlay")
    assert desk.predict(op_id="op-2", flow="overlay").id == second.id
    assert len(predictions.prediction_history()) == 2


@pytest.mark.requirement("Z-10", api="PredictionStore.save_prediction")
def test_an_operation_id_is_of_one_thing(desk, predictions):
    desk.predict(op_id="op-1")
    for misuse in (
        lambda: desk.predict(op_id="op-1", flow="overlay"),
        lambda: desk.predict(op_id="op-1", prediction_id="mine"),
        lambda: desk.snapshot(op_id="op-1", holdings={"cash": {"value": 1}}),
    ):
        with pytest.raises(OperationConflict):
            misuse()
    assert len(predictions.prediction_history()) == 1


@pytest.mark.requirement("Z-10", api="PredictionStore.update_execution")
def test_every_write_can_be_retried(desk, predictions):
    at = datetime(2025, 1, 17, tzinfo=UTC)
    desk.predict()
    opinion = desk.opine().id

    def log(**said):
        return predictions.start_execution(
            user_id="marv", flow="growth", execution_date=at, log_id="log", **said
        )

    calls = [
        lambda **o: predictions.save_user("x", name="X", profile="p", flow="f", **o),
        lambda **o: desk.snapshot(holdings={"cash": {"value": 7}}, **o),
        lambda **o: predictions.attach_report("marv_2025-01-17", markdown="r", **o),
        lambda **o: desk.opine(agent_name="b", **o),
        desk.judge,
        lambda **o: predictions.save_evaluation(opinion, result_id="result_marv_2025-01-17", **o),
        log,
        lambda **o: predictions.update_execution("log", status="completed", **o),
        lambda **o: predictions.update_agent_weights("marv", {"a": {"accuracy": 1}}, **o),
        lambda **o: predictions.adopt_weights("marv", **o),
        lambda **o: predictions.insert([desk.predict(flow="other").record], **o),
    ]
    for number, call in enumerate(calls):
        receipts = [_receipt(call(op_id=f"op-{number}")) for _ in range(2)]
        assert receipts[0].revisions == receipts[1].revisions, number
        assert predictions.agents("marv") == [] or len(predictions.agents("marv")) == 1
    assert predictions.agent_stats("marv", "a").total_predictions == 1


def _receipt(done):
    return done[1] if isinstance(done, tuple) else done.receipt


@pytest.mark.requirement("Z-8", "Z-21", api="Keep.batch")
def test_a_whole_run_as_one_batch(keep, predictions):
    holdings = {"cash": {"value": 1}}
    with keep.batch(op_id="run-1") as batch:
        predictions.save_user("marv", name="Marv", profile="growth", flow="growth", batch=batch)
        before = predictions.save_portfolio(
            user_id="marv", snapshot_date=DAY, holdings=holdings, batch=batch
        )
        made = predictions.save_prediction(
            user_id="marv", prediction_date=DAY, input_portfolio_id=before.id, batch=batch
        )
        again = predictions.save_prediction(
            user_id="marv", prediction_date=DAY, input_portfolio_id=before.id,
            recommended_strategy="Other", batch=batch,
        )  # fmt: skip
        predictions.attach_report(made.id, markdown="report", batch=batch)
        opinion = predictions.save_agent_prediction(
            prediction_id=made.id, layer="macro", agent_name="a", prediction_data={}, batch=batch
        )
        predictions.retrospect(
            made.id,
            end_date=DAY,
            evaluations={opinion.id: {}},
            agent_scores={"a": {"accuracy": 1}},
            batch=batch,
        )
        assert predictions.users() == []
    assert (made.record.flow, again.id) == ("growth", "marv_2025-01-17_2")
    assert predictions.prediction(made.id).report_markdown == "report"
    assert predictions.has_evaluation(made.id)
    assert [p.prediction_id for p in predictions.pending()] == [again.id]


@pytest.mark.requirement("Z-8", api="Keep.batch")
def test_a_batch_that_was_applied_before_is_replayed(keep, desk, predictions):
    def run():
        with keep.batch(op_id="run-1") as batch:
            snapshot = desk.snapshot(snapshot_date=date(2025, 2, 1), batch=batch)
            desk.predict(
                prediction_date=date(2025, 2, 1), input_portfolio_id=snapshot.id, batch=batch
            )
        return batch.receipt

    first, again = run(), run()
    assert again.replayed
    assert again.revisions == first.revisions
    assert len(predictions.prediction_history()) == 1


@pytest.mark.requirement("Z-8", api="Keep.batch")
def test_a_batch_applies_wholly_or_not_at_all(keep, desk, predictions):
    batch = keep.batch()
    desk.predict(batch=batch)
    predictions.delete_portfolio("marv_2025-01-17_current", batch=batch)
    with pytest.raises((InvalidReference, StillReferenced), match="portfolios"):
        batch.commit()
    assert predictions.prediction_history() == []
    with keep.batch() as batch, pytest.raises(Unsupported, match="op_id"):
        desk.predict(batch=batch, op_id="x")
    with keep.batch() as batch, pytest.raises(InvalidReference):
        desk.predict(batch=batch, input_portfolio_id="nothing")


@pytest.mark.requirement("Z-6", api="PredictionStore.prediction")
def test_damage_is_an_error_never_an_answer(keep, desk, predictions):
    desk.predict(market_regime="bull")
    backdoor = keep.backend.backdoor()
    backdoor.flip(predictions.table(Prediction).collection, ("marv_2025-01-17",), "flow")
    for read in (
        lambda: predictions.prediction("marv_2025-01-17"),
        lambda: predictions.latest_prediction("marv"),
        predictions.pending,
        desk.judge,
    ):
        with pytest.raises(Corrupt, match="marv_2025-01-17"):
            read()


@pytest.mark.requirement("Z-2", api="Prediction")
def test_revisions_are_dense_for_each_user(desk, predictions):
    desk.snapshot(user_id="parents", portfolio_id="theirs")
    for number in range(3):
        desk.predict(flow=str(number))
        desk.predict(user_id="parents", input_portfolio_id="theirs", flow=str(number))
    predictions.attach_report("marv_2025-01-17", markdown="r")
    table = predictions.table(Prediction)
    revisions = {
        u: sorted(p.revision for p in predictions.prediction_history(u))
        for u in ("marv", "parents")
    }
    assert revisions == {"marv": [2, 3, 4], "parents": [1, 2, 3]}
    assert (table.head("marv"), table.head("parents")) == (4, 3)
    assert predictions.table(Portfolio).head("marv") == 1


@pytest.mark.requirement("X-1", api="Prediction")
def test_decimals_beyond_a_floats_digits(desk, predictions):
    exact = Decimal("0.123456789012345678901234")
    desk.predict(expected_metrics={"return": exact})
    assert predictions.prediction("marv_2025-01-17").expected_return == exact
