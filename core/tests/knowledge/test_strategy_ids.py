"""Strategy ids are those that docs/strategy-ids.md publishes."""

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from quantkeep import InvalidValue, documents
from quantkeep.hosts import Hosts
from quantkeep.knowledge import SPEC_HASH_VERSION, Strategy, normalized, strategy_id

PAGE = Path(__file__).parents[3] / "docs" / "strategy-ids.md"


def vectors() -> list[dict[str, object]]:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found: list[dict[str, object]] = json.loads(block)
    return found


@pytest.mark.requirement("KB-1", "KB-5", api="knowledge.strategy_id")
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["about"])
def test_published_vectors(vector) -> None:
    spec = documents.decode(json.dumps(vector["spec"]), Hosts())
    assert documents.encode(normalized(spec), Hosts()) == vector["text"]
    assert strategy_id(spec) == vector["id"] == sha256(vector["text"].encode()).hexdigest()


def test_there_are_vectors_of_the_version_in_force() -> None:
    assert len(vectors()) >= 8
    assert f'version `"{SPEC_HASH_VERSION}"`' in PAGE.read_text(encoding="utf-8")


def test_equal_specs_have_one_id_however_they_are_written() -> None:
    assert strategy_id({"a": 1, "b": [1, 2]}) == strategy_id({"b": (1, 2), "a": 1})
    assert strategy_id({"stop": 0.0}) == strategy_id({"stop": -0.0})
    assert strategy_id({"name": "caf\u00e9"}) == strategy_id({"name": "cafe\u0301"})


def test_specs_that_differ_have_ids_that_differ() -> None:
    specs = [{"n": 2}, {"n": 2.0}, {"n": True}, {"n": "2"}, {"n": None}, {}, {"n": [2]}]
    assert len({strategy_id(spec) for spec in specs}) == len(specs)


def test_normalising_twice_changes_nothing() -> None:
    spec = {"e\u0301": (-0.0, {"x": ("y",)}), "n": 1}
    assert normalized(normalized(spec)) == normalized(spec)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ([1, 2], "normalized_spec"),
        ({1: 2}, "normalized_spec"),
        ({"a": {"b": object()}}, "normalized_spec.a.b"),
        ({"\u00e9": 1, "e\u0301": 2}, "normalized_spec"),
        ({"a": "\x00"}, "normalized_spec.a"),
    ],
)
def test_what_is_no_spec_is_refused_by_its_field(spec, field) -> None:
    with pytest.raises(InvalidValue) as refused:
        strategy_id(spec)
    assert (refused.value.field or "").startswith(field)


def test_a_spec_that_holds_itself_is_refused() -> None:
    spec: dict[str, object] = {}
    spec["again"] = spec
    with pytest.raises(InvalidValue, match="holds itself"):
        strategy_id(spec)


@pytest.mark.requirement("KB-22", api="KnowledgeStore.upsert_strategy")
def test_the_id_is_made_by_the_store(knowledge) -> None:
    spec = {"strategy": "SmaCross", "params": {"n1": 10, "n2": 20}}
    found = knowledge.upsert_strategy(Strategy(normalized_spec=spec, created_from="llm"))
    assert found == strategy_id(spec)
    assert knowledge.strategy(found).spec_hash_version == SPEC_HASH_VERSION
