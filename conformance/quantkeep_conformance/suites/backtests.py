"""Backtests on this backend: tables published whole, verified on reading (BT, Z-50 ... Z-55)."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from quantkeep import Capability, Corrupt, Keep
from quantkeep import Durability as Level
from quantkeep.blobs import BlobRef
from quantkeep.errors import InvalidValue, NotFound, TooLarge
from quantkeep_conformance.children.publishing import STEPS, TASK, result
from quantkeep_conformance.clauses import Suite, requires
from quantkeep_conformance.exactness import same
from quantkeep_conformance.places import Place

TABLES = ("symbol_summary", "symbol_signals", "performance_curve")


class Backtests(Suite):
    """The store of backtests, as it is on this backend."""

    family = "backtests"
    built_on_others: ClassVar[bool] = True

    @pytest.mark.requirement("BT-14", "Z-50")
    def test_result_comes_back(self, whole_keep: Keep) -> None:
        """A result comes back equal in value and type: NaN, -0.0, nulls, and symbols without rows."""
        whole_keep.backtests.save_result(result(1))
        assert same(whole_keep.backtests.get_result(TASK), result(1))
        assert whole_keep.backtests.verify(TASK).ok

    @pytest.mark.requirement("Z-52")
    def test_arrow_types_come_back(self, whole_keep: Keep) -> None:
        """Tables come back in the types they were given in, with rows and without any."""
        import pyarrow as pa

        for rows in (0, 3):
            given = _tables(rows)
            said = {name: value for name, value in result(rows).items() if name != "symbols"}
            whole_keep.backtests.save_result({**said, **given})
            found = whole_keep.backtests.tables(TASK)
            for name in TABLES:
                table: pa.Table = getattr(found, name)
                assert table.schema.equals(given[name].schema), f"{name}: {table.schema}"
                assert table.equals(given[name]), name

    @pytest.mark.requirement("BT-20")
    def test_segments_that_drift_are_refused(self, whole_keep: Keep) -> None:
        """A table whose later segments have other types or columns is refused, and nothing is published."""
        import pyarrow as pa

        backtests, given = whole_keep.backtests, _tables(3)
        said = {name: value for name, value in result(3).items() if name != "symbols"}
        signals = given["symbol_signals"]
        place = signals.schema.get_field_index("quantity")
        retyped = signals.set_column(place, "quantity", pa.nulls(3, pa.int64()))
        for segment in (retyped, signals.drop_columns(["fee_amount"])):
            drifting = {**given, "symbol_signals": [signals, segment]}
            with pytest.raises(InvalidValue, match="segment 1"):
                backtests.save_result({**said, **drifting})
        assert backtests.list_results() == []

    @pytest.mark.requirement("BT-13", "Z-54")
    @requires(Capability.PERSISTENT, Level.PROCESS)
    def test_killed_while_publishing(self, place: Place, evidence: dict[str, object]) -> None:
        """A program killed at any step of publishing leaves the result whole: the last one, or the new."""
        before, kept = 0, 0
        for number, step in enumerate(STEPS, start=1):
            name, _, nth = step.partition("@")
            child = place.child(
                "publish", number=number, when="ready", failpoints=f"{name}=kill@{nth or 1}"
            )
            assert [*child.rest()] == [], f"{step} was never passed"
            with place.open_whole() as keep:
                found = _whole(keep)
                assert found in (before, number), f"killed at {step}: number {found} is there"
                keep.backtests.gc(grace=timedelta())
                assert _whole(keep) == found
                kept += found == number
                keep.backtests.save_result(result(-number))
                before = -number
        evidence.update(kills=len(STEPS), published=kept)

    @pytest.mark.requirement("Z-54")
    def test_changed_table_is_detected(self, whole_keep: Keep) -> None:
        """Pieces of a table that were changed, cut or lost are Corrupt, and verify says so."""
        backtests, backend = whole_keep.backtests, whole_keep.backend
        for harm in (_changed, _cut, None):
            backtests.save_result(result(1))
            (digest, *_) = _pieces(whole_keep)
            data = backend.open_blob(digest)
            assert data is not None
            backend.delete_blob(digest)
            if harm is not None:
                backend.put_blob(digest, harm(data))
            with pytest.raises(Corrupt):
                backtests.get_result(TASK)
            assert not backtests.verify(TASK).ok
            backend.delete_blob(digest)
            backtests.delete(TASK)

    @pytest.mark.requirement("BT-18")
    def test_garbage_is_found(self, whole_keep: Keep) -> None:
        """What a crash left behind is collected, and nothing that a result refers to."""
        backtests, backend = whole_keep.backtests, whole_keep.backend
        backtests.save_result(result(1))
        left = hashlib.sha256(b"left behind").hexdigest()
        backend.put_blob(left, b"left behind")
        backtests.gc(grace=timedelta(hours=1))
        assert backend.open_blob(left) is not None, "what is being saved was taken for garbage"
        backtests.gc(grace=timedelta())
        assert backend.open_blob(left) is None
        assert same(backtests.get_result(TASK), result(1))

    @pytest.mark.requirement("BT-18")
    def test_deleted_and_collected(self, whole_keep: Keep) -> None:
        """A deleted result is gone at once, and its pieces with the next collection."""
        backtests = whole_keep.backtests
        backtests.save_result(result(1))
        pieces = _pieces(whole_keep)
        backtests.delete(TASK)
        with pytest.raises(NotFound):
            backtests.get_result(TASK)
        backtests.gc(grace=timedelta())
        assert [whole_keep.backend.open_blob(piece) for piece in pieces] == [None] * len(pieces)

    @pytest.mark.requirement("BT-26")
    def test_parts_are_read(self, whole_keep: Keep) -> None:
        """One table, some of its columns and one symbol of it are what reading all would give."""
        whole_keep.backtests.save_result(result(1))
        whole = whole_keep.backtests.tables(TASK).symbol_signals
        columns, symbols = ["signal_index", "entry_price"], ["BTC/USDT"]
        part = whole_keep.backtests.read(TASK, "symbol_signals", columns=columns, symbols=symbols)
        found = part.read_all()
        assert found.column("signal_index").to_pylist() == whole["signal_index"].to_pylist()
        assert {*found.column("entry_price").to_pylist()} == {101.25}

    @pytest.mark.requirement("BT-9")
    def test_bombs_are_refused(self, whole_keep: Keep, tmp_path: Path) -> None:
        """A small file that says it holds gigabytes is refused before any of it is unpacked."""
        bomb = _bomb(tmp_path / "bomb")
        with pytest.raises(TooLarge):
            whole_keep.backtests.import_folder(bomb)
        assert whole_keep.backtests.list_results() == []


def _whole(keep: Keep) -> int:
    """The number of the result that is there, whole; 0: there is none."""
    record = keep.backtests.get(TASK)
    if record is None:
        return 0
    number = int(record.strategy.removeprefix("number "))
    assert same(keep.backtests.get_result(TASK), result(number))
    assert keep.backtests.verify(TASK).ok
    return number


def _pieces(keep: Keep) -> list[str]:
    record = keep.backtests.get(TASK)
    assert record is not None
    return [piece for ref in BlobRef.find_in(record.files) for piece in ref.chunks]


def _changed(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _cut(data: bytes) -> bytes:
    return data[:-1]


def _tables(rows: int) -> dict[str, Any]:
    """Tables with columns beyond the usual ones, of types that Arrow and Parquet know."""
    import pyarrow as pa

    from quantkeep.backtests import V1

    return {
        name: pa.table([_values(field, rows) for field in V1[name].arrow], schema=V1[name].arrow)
        for name in TABLES
    }


def _values(field: Any, rows: int) -> Any:
    import pyarrow as pa

    plain: dict[str, list[Any]] = {"symbol": ["BTC/USDT"] * rows}
    if field.name in plain:
        return pa.array(plain[field.name], field.type)
    if field.name in ("idx", "signal_index", "total_signals"):
        return pa.array(
            [rows if field.name == "total_signals" else n for n in range(rows)], field.type
        )
    if pa.types.is_timestamp(field.type):
        return pa.array([n * 3_600_000_000 for n in range(rows)], pa.int64()).cast(field.type)
    return pa.nulls(rows, field.type)


def _bomb(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from quantkeep.backtests import V1

    folder.mkdir()
    said = {"strategy": "s", "start_date": "2024-01-01", "end_date": "2024-12-31"}
    about = {"task_id": TASK, "result": said}
    (folder / "metadata.json").write_text(json.dumps(about), encoding="utf-8")
    schema, rows = V1["symbol_signals"].arrow, 100_000
    columns = {field.name: pa.nulls(rows, field.type) for field in schema}
    places = pa.repeat(pa.scalar(0, pa.int32()), rows)
    columns["symbol"] = pa.DictionaryArray.from_arrays(places, pa.array(["A" * 60_000]))
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    bomb = pa.table([*columns.values()], schema=pa.schema(fields))  # 6 GB, written out
    for name in TABLES:
        table = bomb if name == "symbol_signals" else V1[name].arrow.empty_table()
        pq.write_table(table, folder / f"{name}.parquet", store_schema=False)
    return folder
