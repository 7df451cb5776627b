"""What every record says of what made it; how the store's own shape is versioned."""

import pytest

import quantkeep
from quantkeep import FormatTooNew, Record, field, record, schema
from quantkeep.knowledge import FailureTag, KnowledgeStore, Metrics, MetricValue, Strategy

VERSIONS = {
    "document_schema": "SCHEMA-340",
    "policy_version": "score_v1",
    "engine_version": "engine 1.0",
    "model_version": "m-7",
    "code_version": "4f2a9c1",
}


@pytest.mark.requirement("KB-34", "KB-1", api="Versioned")
def test_every_record_can_say_what_made_it(lab, knowledge, make_metrics) -> None:
    rows_of_others = (FailureTag, MetricValue)
    for each in KnowledgeStore.records:
        if each not in rows_of_others:
            assert set(VERSIONS) <= set(each.collection.names), each
    given = make_metrics(**VERSIONS)
    backtest_id = lab.backtest()
    knowledge.save_metrics(backtest_id, given)
    found = knowledge.metrics(backtest_id)
    assert {name: getattr(found, name) for name in VERSIONS} == VERSIONS
    assert found.envelope.schema_version == Metrics.collection.schema_version


@pytest.mark.requirement("KB-33", api="quantkeep.schema")
def test_the_keep_knows_its_own_schema_and_grows_by_it(tmp_path) -> None:
    @record()
    class Measured(Metrics):
        """Metrics with a figure of our own."""

        ulcer_index: float | None = field(default=None, index=True)

    url = f"sqlite:///{tmp_path}/k.db"
    with quantkeep.open(url) as keep:
        described = keep.backend.description()
        names = {c.name: c.schema_version for c in schema.understand(described)}
        assert {"runs", "strategies", "failure_tags", "constraint_provenance"} <= set(names)
        strategy = Strategy(normalized_spec={"n": 1}, created_from="llm")
        strategy_id = keep.knowledge.upsert_strategy(strategy)
    with quantkeep.open(url, records=[Measured]) as keep:
        assert keep.backend.description() != described
        assert "ulcer_index" in keep.table(Metrics).collection.names
        assert keep.knowledge.strategy(strategy_id).normalized_spec == {"n": 1}


@pytest.mark.requirement("KB-33")
def test_a_keep_of_a_newer_schema_is_not_touched(tmp_path) -> None:
    @record("constraint_notes", key=("note_id",), schema_version=2)
    class Note(Record):
        note_id: str

    @record("constraint_notes", key=("note_id",), schema_version=1)
    class OldNote(Record):
        note_id: str

    url = f"sqlite:///{tmp_path}/k.db"
    quantkeep.open(url, records=[Note]).close()
    with pytest.raises(FormatTooNew, match="constraint_notes"):
        quantkeep.open(url, records=[OldNote])


@pytest.mark.requirement("Z-3", api="quantkeep.open(records=...)")
def test_an_extended_metric_ranks_like_ours(tmp_path) -> None:
    @record()
    class Measured(Metrics):
        ulcer_index: float | None = field(default=None, index=True)

    with quantkeep.open("memory://", records=[Measured]) as keep:
        assert "ulcer_index" in keep.knowledge.metric_names()
        assert keep.knowledge.top_strategies(by="ulcer_index") == []
