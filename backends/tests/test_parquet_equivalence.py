"""Segments answer as the model does: random rows in tiny files, and random questions of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quantkeep import Record, arrow, field, record, schema
from quantkeep.batch import Append, Batch, Delete
from quantkeep.hookspecs import Opening
from quantkeep.hosts import Hosts
from quantkeep.query import Measure, Per, Query, Tally, Where
from quantkeep_backends._files.local import LocalFiles
from quantkeep_backends.memory import MemoryBackend
from quantkeep_backends.parquet import _bulk, _compaction, _segments, _units
from quantkeep_backends.parquet._opening import LOCAL
from quantkeep_backends.parquet.backend import ParquetBackend

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@record(
    "hard_entries",
    log=True,
    stream=("account", "mode"),
    identity=("uid",),
    indexes=[("text", "instant"), ("integer",), ("day",)],
)
class HardEntry(Record):
    account: str | None = None
    mode: Literal["paper", "live"] = "paper"
    uid: str | None = None
    text: str | None = field(default=None, index=True)
    integer: int | None = None
    real: float | None = None
    decimal: Decimal | None = None
    flag: bool | None = None
    instant: datetime | None = field(default=None, index=True)
    day: date | None = None
    token: UUID | None = None
    blob: bytes | None = None
    document: Any = None


ENTRIES, HOSTS = HardEntry.collection, Hosts(())
REALS = [0.0, -0.0, 1.5, -1e300, float("nan"), float("inf"), float("-inf"), 5e-324]
ROWS = st.builds(
    HardEntry,
    account=st.sampled_from([None, "a", "b"]),
    mode=st.sampled_from(["paper", "live"]),
    text=st.sampled_from([None, "", "a", "ab", "b", "é", "😀", "A"]),
    integer=st.sampled_from([None, 0, 1, -1, 2**63 - 1, -(2**63)]),
    real=st.sampled_from([None, *REALS]),
    decimal=st.sampled_from(
        [None, Decimal(0), Decimal("-1.50"), Decimal("1e-18"), Decimal(10**19)]
    ),
    flag=st.sampled_from([None, True, False]),
    instant=st.sampled_from(
        [None, *(EPOCH + timedelta(hours=7 * n, microseconds=n) for n in range(-9, 9))]
    ),
    day=st.sampled_from([None, date(1, 1, 1), date(2025, 1, 17), date(9999, 12, 31)]),
    token=st.sampled_from([None, UUID(int=0), UUID(int=2**128 - 1)]),
    blob=st.sampled_from([None, b"", b"\x00\xff"]),
    document=st.sampled_from([None, {"a": [1, "x"]}, [1, 2.5, None]]),
)
COMPARED = ("account", "mode", "text", "integer", "real", "decimal", "flag", "instant", "day",
            "token", "revision")  # fmt: skip


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in segments of a few rows."""
    monkeypatch.setattr(_bulk, "LARGE", 3)
    monkeypatch.setattr(_segments, "GROUP_ROWS", 4)
    monkeypatch.setattr(_units, "NEWEST_ROWS", 0)
    for module in (_segments, _compaction):
        monkeypatch.setattr(module, "SEGMENT_ROWS", 12)


@contextmanager
def opened(path: Path) -> Iterator[ParquetBackend]:
    backend = ParquetBackend(LocalFiles(path), Opening(), LOCAL)
    backend.ensure([ENTRIES], schema.describe([ENTRIES]))
    try:
        yield backend
    finally:
        backend.close()


def conditions(draw: st.DataObject, rows: list[HardEntry]) -> tuple[Where, ...]:
    found = []
    for _ in range(draw.draw(st.integers(0, 2))):
        name = draw.draw(st.sampled_from(COMPARED))
        value = 3 if name == "revision" else getattr(draw.draw(st.sampled_from(rows)), name)
        operators = ["==", "!="] if value is None else ["==", "!=", "<", "<=", ">", ">="]
        if name == "text" and value is not None:
            operators.append("prefix")
        operator = draw.draw(st.sampled_from([*operators, "in"]))
        found.append(Where(name, operator, (value, None) if operator == "in" else value))
    return tuple(found)


def question(draw: st.DataObject, rows: list[HardEntry]) -> Query:
    order = tuple(
        dict.fromkeys(
            draw.draw(st.sampled_from(["", "-"])) + name
            for name in draw.draw(st.lists(st.sampled_from(COMPARED), max_size=2, unique=True))
        )
    )
    limit = draw.draw(st.sampled_from([None, 0, 1, 3, 50]))
    take = "first" if limit is None else draw.draw(st.sampled_from(["first", "last"]))
    return Query(where=conditions(draw, rows), order=order, limit=limit, take=take)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("compacted", [True, False])
@settings(
    max_examples=20, deadline=None, database=None, phases=[Phase.generate],
    suppress_health_check=[*HealthCheck],
)  # fmt: skip
@given(data=st.data(), rows=st.lists(ROWS, min_size=1, max_size=40))
def test_segments_answer_as_the_model_does(
    tmp_path_factory: pytest.TempPathFactory, compacted: bool, data: st.DataObject, rows: list[Any]
) -> None:
    memory = MemoryBackend(clock=lambda: 7_000)
    memory.ensure([ENTRIES], "")
    with opened(tmp_path_factory.mktemp("keep") / "k") as parquet:
        parquet.now = lambda: 7  # type: ignore[method-assign]  # as the memory's clock says
        numbered = [row.replace(uid=f"{n}") for n, row in enumerate(rows)]
        sealed = [ENTRIES.seal(row, HOSTS) for row in numbered]
        cut = data.draw(st.integers(0, len(rows)))
        for part in (sealed[:cut], sealed[cut:], sealed[:1]):  # the last is there already
            batch = Batch((Append(ENTRIES, part),))
            assert parquet.commit(batch) == memory.commit(batch)
        if compacted:
            parquet.compact()
        for row in [*memory.scan(ENTRIES, Query().bound(ENTRIES))][:: data.draw(st.integers(5, 9))]:
            delete = Batch((Delete(ENTRIES, ENTRIES.stored_key(row)),))
            assert parquet.commit(delete) == memory.commit(delete)
        for _ in range(6):
            compare(parquet, memory, question(data, rows).bound(ENTRIES))
            compare_tallies(parquet, memory, data, rows)


def compare(parquet: ParquetBackend, memory: MemoryBackend, query: Query) -> None:
    wanted, found = [*memory.scan(ENTRIES, query)], [*parquet.scan(ENTRIES, query)]
    assert repr(found) == repr(wanted), query
    batches = parquet.scan_arrow(ENTRIES, query, batch_rows=5)
    if batches is not None:
        schema_ = arrow.schema(ENTRIES, envelope=arrow.ENVELOPE)
        rows = [row for batch in batches for row in batch.cast(schema_).to_pylist()]
        shown = arrow.to_batch(ENTRIES, wanted, schema_).to_pylist() if wanted else []
        assert repr(rows) == repr(shown), query
    if wanted and query.limit is None:
        after = query.cursor(ENTRIES, wanted[len(wanted) // 2])
        rest = Query(where=query.where, order=query.order, after=after)
        assert repr([*parquet.scan(ENTRIES, rest)]) == repr([*memory.scan(ENTRIES, rest)]), rest
    for row in wanted[:2]:
        assert repr(parquet.get(ENTRIES, ENTRIES.stored_key(row))) == repr(row)


def compare_tallies(
    parquet: ParquetBackend, memory: MemoryBackend, data: st.DataObject, rows: list[Any]
) -> None:
    by = data.draw(st.sampled_from([(), ("mode",), ("text", "flag"), (Per("instant", "day"),)]))
    measures = (Measure("count"), Measure("sum", "decimal"), Measure("min", "instant"),
                Measure("max", "real"), Measure("mean_abs", "integer"))  # fmt: skip
    measured = data.draw(st.sampled_from([measures, measures[:1]]))
    tally = Tally(by=by, measures=measured, where=conditions(data, rows)).bound(ENTRIES)
    found, wanted = (repr(b.tally(ENTRIES, tally)) for b in (parquet, memory))
    assert found.replace("-0.0,", "0.0,") == wanted.replace("-0.0,", "0.0,"), tally  # equals


@pytest.mark.usefixtures("tiny")
def test_a_segment_of_fewer_columns_has_nulls_in_the_others(tmp_path: Path) -> None:
    """GUARANTEES case 38: columns that came later, over files that do not have them (Z-3)."""

    @record("hard_entries", log=True, stream=("account", "mode"), identity=("uid",))
    class Narrow(Record):
        account: str | None = None
        mode: Literal["paper", "live"] = "paper"
        uid: str | None = None

    narrow = Narrow.collection
    backend = ParquetBackend(LocalFiles(tmp_path / "k"), Opening(), LOCAL)
    backend.ensure([narrow], schema.describe([narrow]))
    rows = [narrow.seal(Narrow(uid=f"{n}"), HOSTS) for n in range(9)]
    backend.commit(Batch((Append(narrow, rows),)))
    backend.compact()
    wide = schema.merge([ENTRIES], [narrow])
    backend.ensure(wide, schema.describe(wide))
    more = [wide[0].seal(HardEntry(uid=f"{n}", integer=n), HOSTS) for n in range(9, 13)]
    backend.commit(Batch((Append(wide[0], more),)))
    for _ in range(2):
        found = [*backend.scan(wide[0], Query().bound(wide[0]))]
        place = wide[0].places["integer"]
        assert [row.values[place] for row in found] == [None] * 9 + [9, 10, 11, 12]
        for row in found:
            wide[0].verify(row)
        tally = Tally(measures=(Measure("sum", "integer"),)).bound(wide[0])
        assert backend.tally(wide[0], tally) == [(42,)]
        backend.compact()
    backend.close()
