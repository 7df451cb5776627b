"""Promises that core keeps for every backend, each with core broken so that it does not."""

import json
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from catching import run

from quantkeep import documents
from quantkeep.backtests import _budget, _sources
from quantkeep.guard import GuardedBackend


@dataclass
class Careless:
    """Takes the place of the codec of documents."""

    @staticmethod
    def encode(value, hosts, **options):
        """As many do it: what JSON has no word for becomes text."""
        return json.dumps(value, default=str, sort_keys=True)

    @staticmethod
    def decode(text, hosts, **options):
        """As if every text were a document."""
        return json.loads(text)


def failed(select: str) -> set[str]:
    return {result.clause for result in run("memory://", seed=3, select=select).of("failed")}


def test_a_codec_that_takes_everything(monkeypatch):
    monkeypatch.setattr(documents, "encode", Careless.encode)
    caught = {"nul", "lone_surrogates", "integers_beyond_64_bits", "naive_instants"}
    caught |= {"live_objects"}
    assert failed("refusals") == {f"refusals.{name}" for name in caught}


def test_a_codec_that_believes_everything(monkeypatch):
    monkeypatch.setattr(documents, "decode", Careless.decode)
    assert failed("hostile") == {"hostile.documents_execute_nothing"}


def test_a_handle_that_lives_through_a_fork(monkeypatch):
    monkeypatch.setattr(GuardedBackend, "usable", lambda self: self.engine)
    assert failed("embedding.fork") == {"embedding.fork"}


def test_a_handle_that_is_never_closed(monkeypatch):
    monkeypatch.setattr(GuardedBackend, "close", lambda self: None)
    assert failed("embedding.closed") == {"embedding.closed"}


def test_tables_that_are_cast_to_what_came_first(monkeypatch):
    """As many readers of many files do it: what is missing is null, what is other is cast."""

    def lenient(table, schema, first, rest):
        for part in (first, *rest):
            whole = pa.concat_tables([schema.empty_table(), part], promote_options="permissive")
            yield from whole.select(schema.names).cast(schema).to_batches()

    monkeypatch.setattr(_sources, "_drifting", lenient)
    caught = "backtests.segments_that_drift_are_refused"
    assert failed(caught) == {caught}


def test_texts_that_are_cut_where_they_are_too_long(monkeypatch):
    """It holds no more than it should, and a result that nobody wrote."""

    def cut(column, name):
        texts = [
            pc.utf8_slice_codeunits(chunk.dictionary, 0, 10).take(chunk.indices)
            for chunk in column.chunks
        ]
        return pa.chunked_array(texts, pa.string())

    monkeypatch.setattr(_budget, "_texts", cut)
    assert failed("backtests.bombs") == {"backtests.bombs_are_refused"}


@pytest.mark.parametrize("clause", ["sessions.resumes_after_kills"])
def test_a_program_on_a_journal_that_is_not_durable(clause, tmp_path):
    report = run(
        f"journal:///{tmp_path}/journal",
        plugins=["naive.journals:acknowledges_before_it_is_durable"],
        seed=3,
        select=clause,
    )
    assert [result.clause for result in report.of("failed")] == [clause]
