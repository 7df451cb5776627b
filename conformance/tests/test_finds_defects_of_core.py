"""Promises that core keeps for every backend, each with core broken so that it does not."""

import json
from dataclasses import dataclass

import pytest

from quantkeep import documents
from quantkeep.guard import GuardedBackend
from quantkeep_conformance.running import run


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


@pytest.mark.parametrize("clause", ["sessions.resumes_after_kills"])
def test_a_program_on_a_journal_that_is_not_durable(clause, tmp_path):
    report = run(
        f"journal:///{tmp_path}/journal",
        plugins=["naive.journals:acknowledges_before_it_is_durable"],
        seed=3,
        select=clause,
    )
    assert [result.clause for result in report.of("failed")] == [clause]
