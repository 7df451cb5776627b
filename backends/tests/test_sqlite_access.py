"""How questions get at their rows: in bounded memory, and without reading everything."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

import quantkeep
from quantkeep import Exists, Keep, Query, Record, Where, field
from quantkeep.query import Condition
from quantkeep_backends.sqlite import reading
from quantkeep_backends.sqlite.reading import Reading

START = datetime(2025, 1, 17, tzinfo=UTC)


@quantkeep.record(
    "fills",
    log=True,
    stream=("account", "mode"),
    identity=("uid",),
    indexes=[("mode", "at"), ("symbol",), ("score",)],
)
class Fill(Record):
    account: str = "default"
    mode: Literal["paper", "live"] = "paper"
    uid: str | None = None
    at: datetime
    symbol: str
    score: float
    number: int = 0
    note: str | None = None


@quantkeep.record("results", key=("name",))
class Result(Record):
    name: str
    fill: str | None = field(default=None, index=True)


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keep]:
    path = tmp_path_factory.mktemp("access") / "bot.db"
    with quantkeep.open(f"sqlite:///{path}", records=[Fill, Result]) as keep:
        fills = [
            Fill(
                mode=("paper", "live")[n % 2],
                uid=f"u{n}",
                at=START + timedelta(seconds=n),
                symbol=f"S{n % 7}",
                score=float(n % 100),
                number=n,
            )
            for n in range(2000)
        ]
        keep.commit(keep.table(Fill).append(fills))
        keep.commit(*(keep.table(Result).put(Result(name=str(n), fill=f"u{n}")) for n in range(9)))
        yield keep


OURS = (Where("account", "==", "default"), Where("mode", "==", "paper"))


def plan(keep: Keep, *where: Condition, record: type[Record] = Fill, **asked: Any) -> str:
    """What SQLite says it does for a question."""
    collection = record.collection
    engine = keep.backend.engine
    told: list[str] = []
    with engine._database.reading() as reader:

        class Told:
            """Asks for the plan of each statement before it is executed."""

            def execute(self, sql: str, values: Any = ()) -> Any:
                told.extend(
                    row[3]
                    for row in reader.execute(f"EXPLAIN QUERY PLAN {sql}", values)
                    if "quantkeep_streams" not in row[3]
                )
                return reader.execute(sql, values)

        query = Query(where=where, **asked).bound(collection)
        [*Reading(Told(), engine._prepare(collection)).rows(query)]  # type: ignore[arg-type]
    return "; ".join(told)


BY_PLACE = "SEARCH fills USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"


def test_a_stream_is_read_in_its_order_without_sorting(keep):
    assert plan(keep, *OURS) == BY_PLACE
    assert plan(keep, *OURS, limit=5) == BY_PLACE
    assert plan(keep, *OURS, limit=5, take="last") == BY_PLACE
    assert plan(keep, *OURS, Where("revision", ">", 990)) == BY_PLACE
    assert plan(keep, *OURS, order=("-revision",), limit=5) == BY_PLACE
    assert plan(keep) == f"{BY_PLACE}; {BY_PLACE}", "each stream after the other"


def test_the_newest_are_found_without_reading_the_others(keep):
    newest = {"limit": 5, "take": "last"}
    for order in (("at",), ("mode", "at"), ("-at",)):
        said = plan(keep, *OURS, order=order, **newest)
        assert "USING INDEX ix_fills_mode_at" in said
        assert "SCAN fills" not in said


def test_a_range_of_time_is_found_by_its_index(keep):
    since = Where("at", ">=", START + timedelta(seconds=1900))
    for order in ((), ("at",)):
        said = plan(keep, *OURS, since, order=order)
        assert "USING INDEX ix_fills_mode_at" in said


def test_a_range_that_holds_almost_everything_is_read_in_order(keep, monkeypatch):
    monkeypatch.setattr(reading, "_PROBE", 50)
    since = Where("at", ">=", START)
    said = plan(keep, *OURS, since, limit=3, take="last")
    assert said.endswith(BY_PLACE)


def test_equal_values_are_in_order_already(keep):
    said = plan(keep, *OURS, Where("symbol", "==", "S3"), limit=3, take="last")
    assert "USING INDEX ix_fills_symbol" in said
    assert "TEMP B-TREE" not in said


def test_the_best_by_a_real_are_found_by_its_index(keep):
    said = plan(keep, order=("-score",), limit=10)
    assert "USING INDEX ix_fills_score" in said
    above = plan(keep, Where("score", ">", 98.5))
    assert "USING INDEX ix_fills_score" in above or BY_PLACE in above


def test_one_entry_is_found_by_its_identity(keep):
    said = plan(keep, *OURS, Where("uid", "==", "u500"), order=("at",))
    assert "fills_identity" in said


def test_what_has_no_counterpart_is_found_by_the_index_of_the_other(keep):
    missing = Exists(Result.collection, (("fill", "uid"),), negate=True)
    assert "SEARCH there USING COVERING INDEX ix_results_fill" in plan(keep, *OURS, missing)
    assert len(keep.table(Fill).list(missing)) == 1991


def test_prefixes_are_ranges(keep):
    said = plan(keep, Where("name", "prefix", "3"), record=Result)
    assert "SEARCH results USING INDEX" in said


# -- memory --------------------------------------------------------------------------------------

STREAMING = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import quantkeep
from datetime import timedelta
from quantkeep.batch import Append, Batch
from test_sqlite_access import Fill, START

keep = quantkeep.open(f"sqlite:///{sys.argv[1]}", records=[Fill])
table = keep.table(Fill)

def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def fill(n):
    return Fill(at=START + timedelta(seconds=n), symbol="S", score=1.0, note=f"{n:04000}")

class Rows:
    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return (table.seal(fill(n)) for n in range(self.count))

def write(count):
    keep.backend.commit(Batch((Append(Fill.collection, Rows(count)),)))

write(1000)  # everything is imported and compiled now, and caches are filled
assert sum(1 for _ in table.scan()) == 1000
before = used()
write(20_000)
written = used()
assert sum(1 for _ in table.scan()) == 21_000
print(written - before, used() - written)
"""


@pytest.mark.requirement("Z-9")
def test_eighty_megabytes_go_in_and_come_out_in_a_few(tmp_path):
    command = [sys.executable, "-c", STREAMING, str(tmp_path / "bot.db"), Path(__file__).parent]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ran.stderr == ""
    writing, found = map(int, ran.stdout.split())
    assert writing < 20, f"{writing} MB more to write 80 MB"
    assert found < 10, f"{found} MB more to read 80 MB"
