"""The directory of a result: read by others as it is, taken back without loss, bombs refused."""

import json
import uuid

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import quantkeep
from quantkeep.backtests import CURVE, SIGNALS, SNAPPY, TABLES, V1
from quantkeep.errors import (
    AlreadyExists,
    Corrupt,
    InvalidValue,
    NotFound,
    PermissionDenied,
    QuantkeepError,
    StoreFull,
    TooLarge,
)

TASK = "550e8400-e29b-41d4-a716-446655440000"


@pytest.mark.requirement("BT-9", "BT-10", "BT-23", api="BacktestStore.export")
def test_the_layout_is_that_of_the_design(backtests, original, tmp_path):
    import hashlib

    backtests.save_result(original())
    place = backtests.export(TASK, tmp_path)
    assert place == tmp_path / "backtests" / TASK
    assert {path.name for path in place.iterdir()} == {
        "symbol_summary.parquet", "symbol_signals.parquet", "performance_curve.parquet",
        "metadata.json",
    }  # fmt: skip
    said = json.loads((place / "metadata.json").read_text())
    assert said["schema_version"] == "1.0"
    assert said["compression"] == "zstd"
    assert said["task_id"] == TASK
    assert said["created_at"].endswith("Z")
    for name, rows in zip(TABLES, (2, 50, 144), strict=True):
        path = place / f"{name}.parquet"
        assert said["parquet_files"][name] == {
            "row_count": rows,
            "file_size_bytes": path.stat().st_size,
            "etag": hashlib.md5(path.read_bytes()).hexdigest(),
        }


@pytest.mark.requirement("BT-9", "BT-6", "BT-7", "BT-8", "Z-55", api="BacktestStore.export")
def test_duckdb_and_polars_read_the_files_as_they_are(backtests, original, as_tables, tmp_path):
    tables = as_tables(original(points=500))
    saved = backtests.save_result(original(points=500))
    assert saved.record.files[CURVE]["rules"]  # in the keep some columns are left out
    place = backtests.export(TASK, tmp_path)
    for name in TABLES:
        path = place / f"{name}.parquet"
        assert pq.read_table(path).equals(tables[name])
        assert pq.read_schema(path) == V1[name].arrow
        found = duckdb.connect().sql(f"SELECT * FROM '{path}'").to_arrow_table()
        assert found.cast(tables[name].schema).equals(tables[name])
        assert pl.read_parquet(path).equals(pl.from_arrow(tables[name]))


@pytest.mark.requirement("BT-9", "BT-14", "Z-50", api="BacktestStore.import_folder")
def test_an_export_comes_back_with_nothing_lost(backtests, original, same, tmp_path):
    result = original(record_count=50, note={"nan": float("nan")}, metadata={"author": "kim"})
    result["symbols"][0]["sharpe"] = -0.0
    result["symbols"][1]["signals"][3]["entry_price"] = 42_000
    for point in result["symbols"][0]["performance_curve"]:
        point["timestamp"] += "Z"
    backtests.save_result(result)
    before = backtests.fetch(TASK)
    place = backtests.export(TASK, tmp_path, encoding=SNAPPY)
    with quantkeep.open("memory://") as other:
        saved = other.backtests.import_folder(place)
        assert same(other.backtests.get_result(saved.task_id), result)
        found = other.backtests.fetch(TASK)
        assert found.envelope.digest == before.envelope.digest
        assert found.envelope.created_at == before.envelope.created_at
        assert other.backtests.verify(TASK).ok
        again = other.backtests.export(TASK, tmp_path / "two", encoding=SNAPPY)
    for path in place.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


@pytest.mark.requirement("BT-9", "Z-52", api="BacktestStore.import_folder")
def test_tables_given_in_another_zone_come_back_in_it(backtests, original, as_tables, tmp_path):
    tables = as_tables(original())
    zoned = tables[SIGNALS]["timestamp"].cast(pa.timestamp("us", "UTC"))
    given = tables[SIGNALS].set_column(2, "timestamp", zoned.cast(pa.timestamp("us", "Asia/Seoul")))
    backtests.save_result({**tables, SIGNALS: given})
    place = backtests.export(TASK, tmp_path)
    backtests.import_folder(place)
    assert backtests.tables(TASK).symbol_signals.equals(given)


@pytest.mark.requirement("BT-9", "BT-10", api="BacktestStore.import_folder")
def test_a_folder_of_the_original_design_needs_its_metadata_said(
    backtests, original, as_tables, tmp_path
):
    tables = as_tables(original())
    for name in TABLES:
        pq.write_table(tables[name], tmp_path / f"{name}.parquet", row_group_size=7)
    rows = {name: {"row_count": len(tables[name]), "file_size_bytes": 1} for name in TABLES}
    said = {
        "schema_version": "1.0", "compression": "snappy", "parquet_files": rows,
        "created_at": "2024-01-01T10:30:00Z", "task_id": TASK,
    }  # fmt: skip
    (tmp_path / "metadata.json").write_text(json.dumps(said))
    with pytest.raises(InvalidValue, match="start_date: is required"):
        backtests.import_folder(tmp_path)
    fields = {"strategy": "s", "start_date": "2024-01-01", "end_date": "2024-06-30"}
    backtests.import_folder(tmp_path, **fields)
    assert backtests.tables(TASK).symbol_signals.equals(tables[SIGNALS])
    assert backtests.fetch(TASK).envelope.created_at.isoformat() == "2024-01-01T10:30:00+00:00"


@pytest.mark.requirement("BT-21", "BT-20", api="BacktestStore.import_folder")
def test_a_folder_that_is_damaged_is_refused(backtests, original, tmp_path):
    def exported(name: str):
        backtests.save_result(original())
        return backtests.export(TASK, tmp_path / name)

    place = exported("count")
    text = (place / "metadata.json").read_text().replace('"row_count": 50', '"row_count": 49')
    (place / "metadata.json").write_text(text)
    with pytest.raises(Corrupt, match=r"has 50 rows, metadata.json says 49"):
        backtests.import_folder(place)
    place = exported("torn")
    content = (place / "symbol_signals.parquet").read_bytes()
    (place / "symbol_signals.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(Corrupt, match="symbol_signals cannot be read as Parquet"):
        backtests.import_folder(place)
    place = exported("missing")
    (place / "performance_curve.parquet").unlink()
    with pytest.raises(NotFound, match=r"performance_curve.parquet"):
        backtests.import_folder(place)
    place = exported("no-json")
    (place / "metadata.json").write_text("{")
    with pytest.raises(Corrupt, match=r"metadata.json cannot be read"):
        backtests.import_folder(place)
    (place / "metadata.json").write_text("[]")
    with pytest.raises(Corrupt):
        backtests.import_folder(place)
    with pytest.raises(NotFound):
        backtests.import_folder(tmp_path / "nowhere")
    assert len(backtests.list_results()) == 1


@pytest.mark.requirement("BT-9", api="BacktestStore.export")
def test_an_export_appears_whole_or_not_at_all(backtests, original, tmp_path, monkeypatch):
    from quantkeep.backtests import _folder

    backtests.save_result(original())
    monkeypatch.setattr(_folder, "write_metadata", _full)
    with pytest.raises(StoreFull):
        backtests.export(TASK, tmp_path)
    monkeypatch.undo()
    assert [*(tmp_path / "backtests").iterdir()] == []
    backtests.export(TASK, tmp_path)
    with pytest.raises(AlreadyExists):
        backtests.export(TASK, tmp_path)
    with pytest.raises(NotFound):
        backtests.export(uuid.uuid4(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(QuantkeepError):
        backtests.export(TASK, tmp_path / "file")


def _full(*given):
    raise StoreFull("no space left")


def test_permissions_are_told_as_such():
    from pathlib import Path

    from quantkeep.backtests._folder import told

    with pytest.raises(PermissionDenied), told(Path("x")):
        raise PermissionError(13, "Permission denied")


# -- bombs -----------------------------------------------------------------------------------------


def _bomb(place, table: pa.Table, **written) -> None:
    place.mkdir()
    said = {"task_id": TASK, "result": {"strategy": "s", "start_date": "2024-01-01",
            "end_date": "2024-12-31"}}  # fmt: skip
    (place / "metadata.json").write_text(json.dumps(said))
    for name in TABLES:
        rows = table if name == SIGNALS else V1[name].arrow.empty_table()
        pq.write_table(rows, place / f"{name}.parquet", **written)


@pytest.mark.requirement("BT-9", api="BacktestStore.import_folder")
def test_a_file_that_would_unfold_to_hundreds_of_megabytes_is_refused(backtests, tmp_path):
    """A third of a megabyte that becomes 720; the footer claims less than the file has."""
    rows = 10_000_000
    schema = V1[SIGNALS].arrow
    columns = {field.name: pa.nulls(rows, field.type) for field in schema}
    columns["entry_price"] = pa.repeat(pa.scalar(1.5), rows)
    columns["symbol"] = pa.repeat(pa.scalar("A"), rows)
    bomb = pa.table(columns).cast(schema)
    _bomb(tmp_path / "bomb", bomb, row_group_size=rows, compression="zstd")
    del bomb, columns
    size = (tmp_path / "bomb" / "symbol_signals.parquet").stat().st_size
    assert size < 400_000
    before = pa.total_allocated_bytes()
    with pytest.raises(TooLarge, match=r"symbol_signals: row group 1 declares 10,000,000 rows"):
        backtests.import_folder(tmp_path / "bomb")
    assert pa.total_allocated_bytes() - before < 10_000_000
    assert backtests.list_results() == []


@pytest.mark.requirement("BT-9", api="BacktestStore.import_folder")
def test_one_long_text_repeated_is_a_bomb_too(backtests, tmp_path):
    schema = V1[SIGNALS].arrow
    columns = {field.name: pa.nulls(100_000, field.type) for field in schema}
    columns["symbol"] = pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), 100_000), pa.array(["A" * 60_000])
    )
    fields = [schema.field(n) if n != "symbol" else pa.field(n, columns[n].type) for n in columns]
    bomb = pa.table(columns, schema=pa.schema(fields))  # 6 GB, written out
    _bomb(tmp_path / "bomb", bomb, store_schema=False)
    with pytest.raises(TooLarge, match=r"symbol_signals.symbol: holds 6,000,000,000 bytes of text"):
        backtests.import_folder(tmp_path / "bomb")


@pytest.mark.requirement("BT-26", api="BacktestStore.get_result")
def test_a_table_that_does_not_fit_into_memory_is_refused_before_it_is_read(
    keep, original, monkeypatch
):
    from quantkeep.backtests import _budget

    keep.backtests.save_result(original())
    monkeypatch.setattr(_budget, "TABLE_BYTES", 1_000)
    monkeypatch.setattr(_budget.check_table, "__kwdefaults__", {"most": 1_000})
    for call in (keep.backtests.get_result, keep.backtests.tables):
        with pytest.raises(TooLarge, match=r"read\(\) and scan\(\) stream"):
            call(TASK)
    assert keep.backtests.read(TASK).read_all().num_rows == 50
