"""Results as this store's own programs wrote them, and sources that cannot be imported."""

import json
from datetime import UTC
from uuid import UUID

import pytest

import quantkeep
from quantkeep import InvalidValue, NotFound
from quantkeep.backtests import converters
from quantkeep.errors import AlreadyExists
from quantkeep_plugins.importers.backtests import import_backtests, kind_of

FIELDS = {
    "task_id": "550e8400-e29b-41d4-a716-446655440000",
    "strategy": "s",
    "start_date": "2024-01-01",
    "end_date": "2024-06-30",
}


@pytest.mark.requirement("BT-13", "BT-9", api="import_backtests")
def test_originals_come_as_json_and_as_folders(keep, tmp_path):
    one = {**FIELDS, "symbols": [{"symbol": "A", "signals": [{"timestamp": "2024-01-01"}]}]}
    two = {**one, "task_id": "00000000-0000-0000-0000-000000000002", "note": 5}
    (tmp_path / "one.json").write_text(json.dumps(one))
    (tmp_path / "several.json").write_text(json.dumps({"results": [one, two]}))
    assert import_backtests(tmp_path / "one.json", keep).added == 1
    assert import_backtests(tmp_path / "several.json", keep).added == 1
    assert keep.backtests.get_result(two["task_id"]) == two
    converters.json_to_parquet(two, tmp_path / "folder" / "backtests" / two["task_id"])
    with quantkeep.open("memory://") as other:
        assert import_backtests(tmp_path / "folder", other).added == 1
        revision = other.backtests.fetch(two["task_id"]).revision
        assert import_backtests(tmp_path / "folder", other).added == 0
        assert other.backtests.fetch(two["task_id"]).revision == revision
        assert other.backtests.get_result(two["task_id"]) == two
        (tmp_path / "changed.json").write_text(json.dumps({**two, "note": 6}))
        with pytest.raises(AlreadyExists, match="with other content"):
            import_backtests(tmp_path / "changed.json", other)
        assert other.backtests.get_result(two["task_id"]) == two


@pytest.mark.requirement("Z-53", api="import_backtests")
def test_a_failed_run_with_another_outcome_is_refused(real_data, keep, tmp_path):
    source = real_data / "runs" / "chain_a"
    failed = next(
        json.loads(line)
        for line in (source / "backtests.jsonl").read_text().splitlines()
        if json.loads(line)["status"] == "failed"
    )
    for name in ("run.json", "strategies.jsonl"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    (tmp_path / "raw").mkdir()
    (tmp_path / "backtests.jsonl").write_text(json.dumps(failed))
    assert import_backtests(tmp_path, keep).added == 1
    record = keep.backtests.fetch(UUID(failed["backtest_id"]))
    assert (record.status, record.error) == ("failed", failed["error"])
    assert record.envelope.created_at.tzinfo is UTC
    (tmp_path / "backtests.jsonl").write_text(json.dumps({**failed, "error": "another"}))
    with pytest.raises(AlreadyExists):
        import_backtests(tmp_path, keep)
    (tmp_path / "backtests.jsonl").write_text(json.dumps({**failed, "status": "paused"}))
    with pytest.raises(InvalidValue, match="status"):
        import_backtests(tmp_path, keep)


def test_what_cannot_be_imported_is_said(keep, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    for place in (tmp_path, tmp_path / "other.json", tmp_path / "nowhere"):
        with pytest.raises(InvalidValue, match="no backtest result that this importer knows"):
            kind_of(place)
    with pytest.raises(InvalidValue, match="one of original, vectorbt"):
        import_backtests(tmp_path, keep, kind="zipline")
    with pytest.raises(NotFound):
        import_backtests(tmp_path / "nowhere", keep, kind="vectorbt")
    with pytest.raises(NotFound):
        import_backtests(tmp_path / "nowhere.json", keep, kind="original")
    (tmp_path / "broken.json").write_text('{"symbols": ')
    for kind in ("original", None):
        with pytest.raises(InvalidValue, match=r"broken\.json cannot be read: .* JSON in UTF-8"):
            import_backtests(tmp_path / "broken.json", keep, kind=kind)
    wrong = {**FIELDS, "symbols": [{"symbol": "A", "total_signals": 3, "signals": []}]}
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    with pytest.raises(InvalidValue, match=f"total_signals: .*, of '{FIELDS['task_id']}'; "):
        import_backtests(tmp_path / "wrong.json", keep)
    no_id = {"strategy": "s", "symbols": []}
    (tmp_path / "no_id.json").write_text(json.dumps(no_id))
    with pytest.raises(InvalidValue, match="importing twice must not store it twice"):
        import_backtests(tmp_path / "no_id.json", keep)
    assert keep.backtests.list_results() == []
