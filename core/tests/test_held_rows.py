"""Rows held in memory, packed: what is read is what was stored, to the last bit."""

import struct
import tracemalloc
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from quantkeep.batch import Append, Batch
from quantkeep.collection import StoredRow
from quantkeep.hosts import Hosts
from quantkeep.model import Model
from quantkeep.model._packed import Identities, KeyedRows, LoggedRows, packed, unpacked
from quantkeep.tape import Trade

# Every bit of a float counts, those of NaN too.
floats = st.binary(min_size=8, max_size=8).map(lambda bits: struct.unpack("=d", bits)[0])
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | floats
values = st.lists(scalars | st.text(max_size=8) | st.binary(max_size=8), max_size=12).map(tuple)
keys = st.tuples(st.sampled_from("ab"), st.integers(1, 6))


def row(values, revision=1):
    return StoredRow(values, revision, 10, 20, 3, b"digest")


def exact(value):
    """Tells apart what ``==`` does not."""
    return type(value), struct.pack("=d", value) if type(value) is float else value


@given(values)
def test_a_packed_row_comes_back_bit_for_bit(values):
    """Also one with a NUL in a text, which only damage puts there."""
    before, after = row(values), unpacked(packed(row(values)))
    assert [*map(exact, after.values)] == [*map(exact, before.values)]
    assert (type(after), after[1:]) == (StoredRow, before[1:])


@given(st.lists(st.tuples(keys, st.booleans())))
def test_rows_are_a_mapping(steps):
    """As a dictionary of them is: keyed, and of a log."""
    for rows in (KeyedRows(), LoggedRows()):
        known = {}
        for key, stored in steps:
            if stored:
                rows[key] = known[key] = row(("x", 1.5), key[-1])
            elif key in known:
                del rows[key], known[key]
            assert (key in rows, rows.get(key)) == (key in known, known.get(key))
        assert dict(rows) == known
        assert len(rows) == len(known)
        assert sorted(map(unpacked, rows.packed())) == sorted(known.values())


@given(st.lists(st.tuples(keys, st.integers(1, 9) | st.none())), st.booleans())
def test_identities_are_a_mapping(steps, of_two):
    identities, known = Identities(1), {}
    for value, revision in steps:
        named = (*value, "more") if of_two else value
        if revision is not None:
            identities[named] = known[named] = (value[0], revision)
        elif named in known:
            del identities[named], known[named]
        assert (named in identities, identities.get(named)) == (named in known, known.get(named))
    assert dict(identities) == known
    assert len(identities) == len(known)


def test_a_trade_takes_less_than_a_kilobyte():
    """With what it is found by: its revision, its identity, its place in the order of time."""
    start, hosts, log = datetime(2025, 1, 1, tzinfo=UTC), Hosts(()), Trade.collection
    trades = (
        Trade(
            mode="paper", uid=f"trade-{n:016x}", timestamp=start + timedelta(seconds=n), qty=n / 7,
            symbol="BTC/USDT", side="LONG", action="OPEN", fill_price=50_000 + n / 3, fee=n / 9,
            order_id=f"order-{n:012x}", entry_link_id=f"life-{n:012x}", entry_reason="breakout",
            entry_ev=n / 11, realized_pnl=n / 13, hold_duration_sec=n / 17, regime="bull",
        )
        for n in range(10_000)
    )  # fmt: skip
    sealed = [log.seal(trade, hosts) for trade in trades]
    model = Model()
    model.ensure([log])
    tracemalloc.start()
    try:
        model.apply(Batch((Append(log, sealed),)), 1)
        model.settle()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(sealed) < 1_000
