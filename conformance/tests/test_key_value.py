"""What ``quantkeep.model`` offers to authors of backends keeps the whole contract."""

import json

import pytest
from catching import run
from click.testing import CliRunner
from key_value_backend import Engine

from quantkeep.model import KeyValueKeep
from quantkeep_conformance.commands import conformance


def test_a_key_value_store_with_four_methods_passes_the_kit(tmp_path):
    report = tmp_path / "report.json"
    arguments = ("kv://", "--plugin", "key_value_backend:", "--json", str(report), "--seed", "5")
    result = CliRunner().invoke(conformance, arguments)
    assert result.exit_code == 0, result.output
    said = json.loads(report.read_text())
    assert said["failed"] == []
    assert "identity.null_in_unique_is_a_value" in said["passed"]


@pytest.mark.parametrize(
    ("store", "clauses"),
    [
        ("SOUND", []),
        ("counts_no_writes", ["reopen.older_backup_is_noticed"]),
        ("remembers_what_it_reads", ["reopen.older_backup_is_noticed"]),
    ],
)
def test_who_does_not_count_writes_is_caught(store, clauses, tmp_path):
    plugin, select = f"naive.filed:{store}", "(reopen or durability or honesty) and not broad"
    report = run(f"filed:///{tmp_path / 'keep'}", plugins=[plugin], select=select, rounds=0.3)
    assert [result.clause for result in report.of("failed")] == clauses


@pytest.mark.parametrize(
    ("store", "clauses"),
    [
        ("SOUND", []),
        ("believes_its_receipts", ["corruption.changed_receipt_is_detected"]),
        ("forgets_what_it_cannot_read", ["corruption.changed_receipt_is_detected"]),
        ("checks_no_receipts", ["corruption.changed_receipt_is_found"]),
    ],
)
def test_who_is_careless_with_receipts_is_caught(store, clauses, tmp_path):
    plugin, select = f"naive.filed:{store}", "operations or corruption"
    report = run(f"filed:///{tmp_path / 'keep'}", plugins=[plugin], select=select, rounds=0.3)
    assert [result.clause for result in report.of("failed")] == clauses
    assert len(report.of("passed")) > 10


@pytest.mark.parametrize("times", [1, 3])
def test_the_state_tells_keeps_apart_and_only_goes_up(times):
    one, other = KeyValueKeep(Engine()), KeyValueKeep(Engine())
    for keep in (one, other):
        assert keep.state() == ("", 0)
        for _ in range(times):
            keep.count_write()
    assert one.state()[1] == other.state()[1] == times
    assert one.state()[0] != other.state()[0]
