"""Large appends: written while it is looked whether they are new, and nothing left where not."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

import quantkeep
from quantkeep import InvalidValue, Keep, Record, _arrow_records, arrow, record
from quantkeep.errors import AlreadyExists
from quantkeep.tape import Trade
from quantkeep_backends.parquet import _bulk, _novelty, _segments
from quantkeep_backends.parquet._replica import Replica

START = datetime(2026, 1, 19, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten rows are many: a part of records, a segment."""
    monkeypatch.setattr(_bulk, "LARGE", 10)
    monkeypatch.setattr("quantkeep_backends.parquet.backend.ParquetBackend.columns_from", 10)
    monkeypatch.setattr(_arrow_records, "_PART", 25)
    monkeypatch.setattr(_segments, "SEGMENT_ROWS", 10)


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    with quantkeep.open(f"parquet:///{tmp_path}/keep") as opened:
        yield opened


def trade(number: int, **changes: Any) -> Trade:
    at = START + timedelta(seconds=number)
    given: dict[str, Any] = {
        "mode": "paper", "uid": f"t{number}", "timestamp": at, "symbol": "BTC/USDT",
        "side": "LONG", "action": "OPEN", "qty": 1.0, "fill_price": float(number + 1),
    }  # fmt: skip
    return Trade(**{**given, **changes})


def values_of(trade: Trade) -> dict[str, Any]:
    return {name: getattr(trade, name) for name in Trade.collection.names}


def engine(keep: Keep) -> Any:
    return keep.backend.engine


def root(keep: Keep) -> Path:
    return Path(engine(keep)._files.root)


def files(keep: Keep, folder: str = "segments") -> set[Path]:
    return {path for path in (root(keep) / folder).rglob("*") if path.is_file()}


def uids(keep: Keep) -> list[str | None]:
    return [trade.uid for trade in keep.table(Trade).scan()]


@pytest.mark.parametrize("count", [10, 25, 26, 99])
def test_records_become_columns_part_by_part(keep: Keep, count: int) -> None:
    receipt = keep.tape.append([trade(n) for n in range(count)])
    assert [*receipt.outcomes[0].revisions] == [*range(1, count + 1)]
    assert receipt.outcomes[0].added == count
    assert keep.table(Trade).list() == [trade(n) for n in range(count)]
    parts = [min(25, count - start) for start in range(0, count, 25)]
    assert len(files(keep)) == sum(-(-rows // 10) for rows in parts)


@pytest.mark.parametrize("place", [0, 24, 25, 77, 98])
@pytest.mark.requirement("X-3")
def test_a_refused_record_is_named_and_leaves_nothing(keep: Keep, place: int) -> None:
    """Also where the parts before it were written already."""
    trades = [trade(n) for n in range(99)]
    trades[place] = trade(place, side="SIDEWAYS")
    with pytest.raises(InvalidValue, match="SIDEWAYS") as refused:
        keep.tape.append(trades)
    assert refused.value.field == "side"
    assert str(refused.value.record).startswith(f"trades[{place}]" if place else "Trade")
    assert not files(keep)
    assert not uids(keep)
    keep.tape.append(trade(n) for n in range(99))
    assert len(uids(keep)) == 99


def test_parts_that_are_out_of_the_ordinary_are_taken_row_by_row(keep: Keep) -> None:
    """Records of a class of one's own among others, and instants of another zone."""

    class Own(Trade):
        """The same, in another program."""

    trades = [trade(n) for n in range(99)]
    trades[30] = trade(30, timestamp=trade(30).timestamp.astimezone())
    keep.tape.append(trades)
    assert keep.table(Trade).list() == trades
    keep.commit(keep.table(Trade).append([*trades, Own(**values_of(trade(200)))]))
    assert len(uids(keep)) == 100


@pytest.mark.parametrize("known", [1, 7, 40, 98])
def test_of_rows_that_are_partly_there_the_others_are_added(keep: Keep, known: int) -> None:
    keep.tape.append([trade(n) for n in range(known)])
    before = files(keep)
    receipt = keep.tape.append([trade(n) for n in range(99)])
    assert receipt.outcomes[0].added == 99 - known
    assert [abs(n) for n in receipt.outcomes[0].revisions] == [*range(1, 100)]
    assert uids(keep) == [f"t{n}" for n in range(99)]
    named = {root(keep) / s.path for s in segments(keep)}
    assert files(keep) == named >= before


def segments(keep: Keep) -> Any:
    return engine(keep)._replica.state.tables.logs["trades"].segments


@pytest.mark.parametrize("kind", ["records", "columns"])
def test_rows_that_repeat_among_themselves_are_added_once(keep: Keep, kind: str) -> None:
    trades = [trade(n % 60) for n in range(99)]
    keep.tape.append(trades) if kind == "records" else keep.commit(keep.table(Trade).append(trades))
    assert uids(keep) == [f"t{n}" for n in range(60)]
    assert files(keep) == {root(keep) / s.path for s in segments(keep)}


def test_other_content_under_a_known_identity_is_refused_and_leaves_nothing(keep: Keep) -> None:
    keep.tape.append([trade(n) for n in range(20)])
    before = files(keep)
    with pytest.raises(AlreadyExists, match="t7"):
        keep.tape.append([trade(n, qty=2.0 if n == 7 else 1.0) for n in range(99)])
    assert files(keep) == before
    assert uids(keep) == [f"t{n}" for n in range(20)]


@pytest.mark.parametrize("order", ["answer first", "written first"])
def test_whichever_is_first_the_answer_or_the_files(
    keep: Keep, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """No more than a few files are written once it is known that a row is not new."""
    keep.tape.append([trade(n) for n in range(10)])
    written, answered, answer = threading.Event(), threading.Event(), _novelty.Question._answered
    names: list[str] = []

    def late(self: _novelty.Question, table: Any) -> Any:
        found = answer(self, table)
        assert order == "answer first" or written.wait(60)
        answered.set()
        return found

    write = engine(keep)._files.write

    def noted(name: str, data: bytes) -> None:
        assert order != "answer first" or answered.wait(60)
        names.append(name)
        write(name, data)
        if len(names) == 10:
            written.set()

    monkeypatch.setattr(_novelty.Question, "_answered", late)
    monkeypatch.setattr(engine(keep)._files, "write", noted)
    rows = [values_of(trade(n)) for n in range(100)]
    table = pa.Table.from_pylist(rows, schema=arrow.schema(Trade.collection))
    keep.tape.append_arrow(Trade, table)
    assert uids(keep) == [f"t{n}" for n in range(100)]
    assert files(keep) == {root(keep) / s.path for s in segments(keep)}
    speculative = sum(name.startswith("segments") for name in names) - 9
    assert speculative == 10 if order == "written first" else speculative <= 2


@record("spread", log=True, stream=("mode",), identity=("uid",))
class Spread(Record):
    """Of two streams, which are numbered apart."""

    mode: Literal["paper", "live"] = "paper"
    uid: str | None = None


def test_streams_that_are_mixed_are_numbered_apart(tmp_path: Path) -> None:
    modes = ["paper", "live", "live"] * 33
    with quantkeep.open(f"parquet:///{tmp_path}/keep", records=[Spread]) as keep:
        for portion in range(2):
            records = [Spread(mode=mode, uid=f"{portion}-{n}") for n, mode in enumerate(modes)]
            receipt = keep.commit(keep.table(Spread).append(records))
            live, paper = iter(range(1 + 66 * portion, 200)), iter(range(1 + 33 * portion, 200))
            expected = [next(live if mode == "live" else paper) for mode in modes]
            assert [*receipt.outcomes[0].revisions] == expected
        found = keep.table(Spread).list()
    assert [r.revision for r in found if r.mode == "live"] == [*range(1, 133)]
    assert [r.revision for r in found if r.mode == "paper"] == [*range(1, 67)]


def test_a_commit_that_is_tried_again_takes_the_files_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer came in between, in another stream: the rows keep their revisions."""
    url = f"parquet:///{tmp_path}/keep"
    with quantkeep.open(url) as keep, quantkeep.open(url) as other:
        keep.tape.append(trade(0))
        add, tries = Replica.add, list[int]()

        def beaten(self: Replica, said: Any) -> bool:
            if self is engine(keep)._replica and not tries:
                other.tape.append(trade(500, mode="live"))
            tries.append(len(files(keep)))
            return add(self, said)

        monkeypatch.setattr(Replica, "add", beaten)
        keep.tape.append([trade(n) for n in range(1, 51)])
        monkeypatch.undo()
        assert tries[0] == tries[-1] == 6
        assert len(tries) > 2
        assert len(uids(keep)) == 52
        assert len(files(keep)) == 6


@record("own_stamps", log=True, identity=("uid",))
class OwnStamps(Record):
    """Has columns of the names that the store gives its own."""

    uid: str | None = None
    schema_version: int = 0
    schema_version_: int = 0
    created_at_: str = ""


def test_the_stores_columns_give_way_to_those_of_a_record(tmp_path: Path) -> None:
    records = [OwnStamps(uid=f"{n}", schema_version_=n, created_at_="x") for n in range(30)]
    with quantkeep.open(f"parquet:///{tmp_path}/keep", records=[OwnStamps]) as keep:
        keep.commit(keep.table(OwnStamps).append(records[:20]))
        keep.commit(keep.table(OwnStamps).append(records[20:22]))
        keep.backend.compact()
        table = keep.table(OwnStamps)
        assert table.list() == records[:22]
        assert table.arrow().read_all()["schema_version_"].to_pylist() == [*range(22)]
