"""Filters of Spark, pushed down to the files or not, find what ours find."""

import json
from datetime import UTC, datetime

import pytest
from keeps import key_of
from pyspark.sql import DataFrame

from quantkeep_conformance.records import Entry

FILTERS = {
    "symbol = 'S3'": lambda e: e.symbol == "S3",
    "symbol = 'S3' AND happened_at < TIMESTAMP '1850-01-01 00:00:00'": lambda e: (
        e.symbol == "S3" and e.happened_at < datetime(1850, 1, 1, tzinfo=UTC)
    ),
    "uid = 'uid 1234'": lambda e: e.uid == "uid 1234",
    "uid IN ('uid 3', 'uid 1620', 'no such')": lambda e: e.uid in ("uid 3", "uid 1620"),
    "price BETWEEN 100 AND 101.5": lambda e: e.price is not None and 100 <= e.price <= 101.5,
    "revision > 1600": lambda e: e.revision > 1600,
    "symbol IS NULL": lambda e: e.symbol is None,
}


@pytest.mark.parametrize("question", FILTERS)
def test_filters_find_the_same(spark, table, filled, pushed, question):
    keep, path = filled
    wanted = [e for e in keep.table(Entry).scan() if FILTERS[question](e)]
    found = table(spark, path, "kit_entries", key_of(Entry)).where(question)
    rows = found.select("account", "mode", "revision").collect()
    assert wanted
    assert {tuple(row) for row in rows} == {(e.account, e.mode, e.revision) for e in wanted}
    assert len(rows) == len(wanted)


@pytest.mark.parametrize(
    "question", ["uid = 'uid 1234'", "revision > 1400", "happened_at < TIMESTAMP '1720-01-01'"]
)
def test_filters_pass_over_row_groups(spark, filled, pushed, question):
    """Spark takes our statistics and bloom filters at their word: so they must be right."""
    _, path = filled
    names = json.loads((path / "current.json").read_text())["tables"]["kit_entries"]
    stored = spark.read.parquet(*(f"{path}/{name}" for name in names))
    everything = stored.count()
    asked = stored.where(question)
    assert asked.collect()
    scanned = rows_scanned(asked)
    assert (scanned < everything / 2) if pushed else (scanned == everything)


def rows_scanned(frame: DataFrame) -> int:
    """How many rows its scan of the files gave to be filtered."""
    scan = frame._jdf.queryExecution().executedPlan().collectLeaves().head()
    rows: int = scan.metrics().apply("numOutputRows").value()
    return rows
