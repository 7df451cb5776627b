"""What verify finds, and that no flipped bit is ever a silent wrong answer."""

import random

import attrs
import pytest

from quantkeep.backtests import SIGNALS, SUMMARY, Encoding
from quantkeep.backtests.records import BacktestResult
from quantkeep.blobs import BlobRef, Blobs
from quantkeep.errors import Corrupt

TASK = "550e8400-e29b-41d4-a716-446655440000"


def chunks_of(record, table) -> list[str]:
    return [*BlobRef.from_document(record.files[table]["file"]).chunks]


@pytest.mark.requirement("BT-20", "BT-21", "BT-22", "BT-23", api="BacktestStore.verify")
def test_a_good_result_is_good(backtests, original):
    saved = backtests.save_result(original(note="x"))
    found = backtests.verify(TASK)
    assert found.ok
    assert found.rows == {"symbol_summary": 2, "symbol_signals": 50, "performance_curve": 144}
    assert found.bytes == saved.record.file_size
    assert [v.task_id for v in backtests.verify_all()] == [saved.task_id]


@pytest.mark.requirement("BT-23", api="BacktestStore.save_result")
def test_every_file_has_the_etag_that_s3_would_give_it(backtests, original):
    import hashlib

    saved = backtests.save_result(original())
    for said in saved.record.files.values():
        content = backtests._blobs.read(BlobRef.from_document(said["file"]))
        assert said["etag"] == hashlib.md5(content).hexdigest()
        assert said["file_size_bytes"] == len(content)


@pytest.mark.requirement("Z-6", "BT-23", api="BacktestStore.verify")
def test_no_flipped_bit_is_silent(keep, original, same):
    backtests, noise = keep.backtests, random.Random(7)
    result = original(points=200, note={"a": 1})
    result["symbols"][0]["sharpe"] = 1.5
    saved = backtests.save_result(result)
    names = [*saved.record.files]
    for _ in range(60):
        digest = chunks_of(saved.record, noise.choice(names))[0]
        good = keep.backend.open_blob(digest)
        place = noise.randrange(len(good) * 8)
        bad = bytearray(good)
        bad[place // 8] ^= 1 << place % 8
        _replace(keep, digest, bytes(bad))
        assert not backtests.verify(TASK).ok
        with pytest.raises(Corrupt):
            backtests.get_result(TASK)
        _replace(keep, digest, good)
    assert same(backtests.get_result(TASK), result)


def _replace(keep, digest: str, data: bytes) -> None:
    keep.backend.delete_blob(digest)
    keep.backend.put_blob(digest, data)


@pytest.mark.requirement("Z-6", api="BacktestStore.verify")
def test_a_missing_piece_or_a_changed_record_is_found(keep, original):
    backtests = keep.backtests
    saved = backtests.save_result(original())
    keep.backend.delete_blob(chunks_of(saved.record, SIGNALS)[0])
    assert "is missing" in backtests.verify(TASK).problems[0]
    with pytest.raises(Corrupt, match="is missing"):
        backtests.read(TASK).read_all()
    with pytest.raises(Corrupt, match="is missing"):
        backtests.scan().read_all()
    assert backtests.read(TASK, SUMMARY).read_all().num_rows == 2  # the others are there
    backtests.save_result(original())
    collection = keep.table(BacktestResult).collection
    keep.backend.backdoor().flip(collection, (TASK,), "strategy")
    found = backtests.verify(TASK)
    assert "does not match its digest" in found.problems[0]
    assert not next(iter(backtests.verify_all())).ok
    with pytest.raises(Corrupt):
        backtests.get_result(TASK)


@pytest.mark.requirement("BT-20", "BT-21", "BT-22", "BT-23", api="BacktestStore.verify")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"record_count": 51}, "record_count is 51, of 50 signals"),
        ({"file_size": 1}, "file_size is 1"),
        ({"symbols": ["BTC/USDT"]}, "has rows of 'ETH/USDT'"),
        ({"files.symbol_signals.row_count": 49}, "the file has 50 rows, 49 were saved"),
        ({"files.symbol_signals.etag": "0"}, "its ETag is"),
        ({"files.symbol_signals.decimals": {}}, "schema is not the one it was saved with"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_record_that_disagrees_with_its_files_is_found(keep, original, damage, said):
    """A writer other than this library, or an older one with a mistake in it."""
    backtests = keep.backtests
    record = backtests.save_result(original()).record
    for path, value in damage.items():
        field, _, inside = path.partition(".")
        if inside:
            table, name = inside.split(".")
            files = {**record.files, table: {**record.files[table], name: value}}
            record = attrs.evolve(record, files=files)
        else:
            record = attrs.evolve(record, **{field: value})
    keep.commit(keep.table(BacktestResult).put(record))
    assert said in "; ".join(backtests.verify(TASK).problems)


@pytest.mark.requirement("BT-22", "BT-21", api="BacktestStore.verify")
def test_a_file_with_rows_out_of_order_is_found(keep, original, as_tables):
    from quantkeep.backtests import _writer
    from quantkeep.backtests.schemas import V1

    backtests = keep.backtests
    record = backtests.save_result(original()).record
    rows = as_tables(original())[SIGNALS]
    turned = rows.take([1, 0, *range(2, 49)]).combine_chunks().to_batches()
    stored = _writer.staged(V1[SIGNALS], turned, Encoding(), Blobs(keep.backend))
    size = record.file_size - record.files[SIGNALS]["file_size_bytes"] + stored.size
    files = {**record.files, SIGNALS: stored.as_document()}
    worse = attrs.evolve(record, files=files, record_count=49, file_size=size)
    keep.commit(keep.table(BacktestResult).put(worse))
    problems = "; ".join(backtests.verify(TASK).problems)
    assert "timestamp: lies before" in problems
