"""Keeps of an older schema gain what came later, with everything in them intact."""

import attrs
import pytest

import quantkeep
from quantkeep import schema
from quantkeep.batch import Batch, Put
from quantkeep.hookspecs import Opening
from quantkeep.opening import open_backend, plugin_manager, store_classes
from quantkeep.predictions import Portfolio, Prediction, User
from quantkeep.url import Url

INITIAL = {"users", "portfolios", "predictions", "performance_results", "execution_logs"}
LATER = {"flow_execution_id", "snapshot_data"}


def older(collection):
    """The collection as the first program declared it."""
    columns = tuple(c for c in collection.columns if c.name not in LATER)
    return attrs.evolve(collection, columns=columns)


def without_later(collection, row):
    values = zip(collection.names, row.values, strict=True)
    return row._replace(values=tuple(v for name, v in values if name not in LATER))


@pytest.fixture
def old_keep(tmp_path, desk, predictions):
    """A keep that a program made before agents and the two later fields were known (001)."""
    url = f"sqlite:///{tmp_path}/old.db"
    desk.predict()
    first = [
        older(c.collection) for cls in store_classes().values() for c in cls.records
        if cls.name == "predictions" and c.collection.name in INITIAL
    ]  # fmt: skip
    engine = open_backend(Url.parse(url), plugin_manager(()), Opening())
    engine.ensure(first, schema.describe(first))
    by_name = {c.name: c for c in first}
    for kind in (User, Portfolio, Prediction):
        table = predictions.table(kind)
        for record in table.list():
            row = without_later(table.collection, table.seal(record))
            engine.commit(Batch((Put(by_name[table.collection.name], row),)))
    engine.close()
    return url


@pytest.mark.requirement("MARA-37", "MARA-U4", api="quantkeep.open")
def test_older_keep_gains_tables_and_fields(old_keep, predictions):
    with quantkeep.open(old_keep) as keep:
        found = keep.predictions.prediction("marv_2025-01-17")
        assert found == predictions.prediction("marv_2025-01-17")
        assert (found.flow_execution_id, found.snapshot_data) == (None, None)
        store = keep.predictions
        store.update_agent_weights("marv", {"a": {"accuracy": 1}})
        later = store.save_prediction(
            user_id="marv",
            prediction_date=found.prediction_date,
            input_portfolio_id=found.input_portfolio_id,
            flow_execution_id="run-2",
            snapshot_data={"seen": 1},
        )
        assert store.prediction(later.id).snapshot_data == {"seen": 1}
    with quantkeep.open(old_keep) as keep:
        assert keep.predictions.agent_stats("marv", "a").total_predictions == 1


@pytest.mark.requirement("MARA-37", api="quantkeep.open")
def test_older_keep_is_not_changed_unasked(old_keep):
    with pytest.raises(quantkeep.QuantkeepError, match="upgrade"):
        quantkeep.open(old_keep, migrate=False)


@pytest.mark.requirement("MARA-4", "MARA-7", "MARA-10", "MARA-U1", "MARA-U2", api="Collection")
def test_the_indexes_of_the_design(predictions):
    declared = {
        "portfolios": ("user_id", "snapshot_date"),
        "predictions": ("user_id", "prediction_date"),
        "performance_results": ("prediction_id",),
        "agent_predictions": ("layer", "agent_name"),
        "agent_evaluations": ("agent_name", "evaluation_date"),
    }
    collections = {kind.collection.name: kind.collection for kind in predictions.records}
    for name, columns in declared.items():
        assert columns in {index.columns for index in collections[name].indexes}, name
