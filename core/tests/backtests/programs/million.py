"""Saves and reads back many signals as streams; says how much memory it took beyond the start.

python million.py URL ROWS
"""

import resource
import sys
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

import quantkeep
from quantkeep.backtests import SIGNALS, V1

BATCH = 20_000
META = {"strategy": "s", "start_date": "2024-01-01", "end_date": "2124-12-31"}


def batches(rows: int) -> Iterator[pa.RecordBatch]:
    """Rows with full-precision floats, made as they are asked for."""
    schema = V1[SIGNALS].arrow
    for start in range(0, rows, BATCH):
        columns = {field.name: pa.nulls(BATCH, field.type) for field in schema}
        columns["symbol"] = pa.repeat(pa.scalar(f"S{start // 100_000:02}/USDT"), BATCH)
        hours = pa.array(range(start, start + BATCH), pa.int64())
        columns["timestamp"] = pc.multiply(hours, 3_600_000_000).cast(pa.timestamp("us"))
        for name in ("entry_price", "exit_price", "return_pct", "fee_amount"):
            columns[name] = pc.random(BATCH, initializer=hash((name, start)) % 2**31)
        columns["type"] = pa.repeat(pa.scalar("buy"), BATCH)
        yield pa.RecordBatch.from_pydict(columns, schema=schema)


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(url: str, rows: int) -> None:
    with quantkeep.open(url) as keep:
        backtests = keep.backtests
        tiny = {SIGNALS: next(batches(BATCH)).slice(0, 10)}
        warm = backtests.save_result({**META, **tiny})  # whatever is imported, is imported
        backtests.read(warm.task_id).read_all()
        width = sum(batch.nbytes for batch in batches(BATCH)) / BATCH
        before = peak()
        stream = pa.RecordBatchReader.from_batches(V1[SIGNALS].arrow, batches(rows))
        saved = backtests.save_result({**META, SIGNALS: stream})
        read = sum(batch.num_rows for batch in backtests.read(saved.task_id))
        verified = backtests.verify(saved.task_id)
        assert verified.ok
        said = f"rows={saved.record.record_count} read={read} file={saved.record.file_size}"
        sys.stdout.write(f"{said} arrow={int(width * rows)} peak={peak() - before}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
