"""Operation ids, batches of several stores, and what every error says of its commit."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import quantkeep
from quantkeep import Durability, Keep, errors
from quantkeep.batch import PRESENT, Append, AtRevision, Batch, Delete, Holding, Put, Require
from quantkeep.collection import SealedRow
from quantkeep.errors import (
    AlreadyExists,
    Conflict,
    DurabilityNotMet,
    OperationConflict,
    QuantkeepError,
    Unsupported,
)
from quantkeep.sessions.bot_state import BotValue
from quantkeep.tape import Trade

NOON = datetime(2025, 1, 17, 12, tzinfo=UTC)


def trade(uid: str | None = None, qty: float = 1.0) -> Trade:
    return Trade(
        mode="paper", uid=uid, timestamp=NOON, symbol="BTC", side="LONG", action="OPEN", qty=qty
    )


@pytest.fixture(params=("memory", "sqlite", "json"))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    places = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/bot.db"}
    return places.get(request.param, f"json:///{tmp_path}/bot")


@pytest.fixture
def keep(url: str) -> Iterator[Keep]:
    with quantkeep.open(url) as opened:
        yield opened


# -- operation ids ---------------------------------------------------------------------------------


@pytest.mark.requirement("Z-10")
def test_the_digest_of_a_batch_is_for_ever() -> None:
    """Keeps remember it under operation ids: a later version must know its own batch again."""
    log, keyed = Trade.collection, BotValue.collection
    one, two = SealedRow(("x",), b"0123456789abcdef"), SealedRow(("y",), b"fedcba9876543210")
    writes = (
        Append(log, [one, two]),
        Put(keyed, one),
        Put(keyed, one, AtRevision(3)),
        Delete(keyed, ("a",), PRESENT),
        Require(keyed, ('a"é',), Holding(7)),
        Delete(log, ("default", "paper", 1)),
    )
    assert Batch(writes).digest().hex() == "4f676758046eea2c1a6e5623e99c6ac1"


@pytest.mark.requirement("Z-10", api="Keep.resolve")
def test_an_operation_is_applied_once_however_often_it_is_asked_for(keep: Keep) -> None:
    first = keep.tape.append(trade(), trade(), op_id="fill-1")
    assert (first.replayed, first.added, first.op_id) == (False, 2, "fill-1")
    again = keep.tape.append(trade(), trade(), op_id="fill-1")
    assert again.replayed
    assert (again.revisions, again.at, again.added) == (first.revisions, first.at, 2)
    assert keep.tape.table(Trade).count() == 2
    found = keep.resolve("fill-1")
    assert found is not None
    assert found.revisions == first.revisions
    assert keep.resolve("fill-2") is None


@pytest.mark.requirement("Z-10", api="Keep.resolve")
def test_an_operation_id_is_of_one_batch(keep: Keep) -> None:
    keep.tape.append(trade(), op_id="fill-1")
    with pytest.raises(
        OperationConflict, match=r"'fill-1' was already used .* its own id"
    ) as caught:
        keep.tape.append(trade(qty=2.0), op_id="fill-1")
    assert (caught.value.applied, caught.value.op_id) == ("no", "fill-1")
    with pytest.raises(OperationConflict):
        keep.sessions.bot_state.save("x", 1, op_id="fill-1")
    assert keep.tape.table(Trade).count() == 1
    assert keep.sessions.bot_state.load("x") is None


@pytest.mark.requirement("Z-10", api="Keep.resolve")
def test_an_operation_that_was_refused_leaves_its_id_free(keep: Keep) -> None:
    keep.tape.append(trade("a"))
    with pytest.raises(AlreadyExists) as caught:
        keep.tape.append(trade("a", qty=2.0), op_id="fill-1")
    assert caught.value.op_id == "fill-1"
    assert keep.resolve("fill-1") is None
    assert not keep.tape.append(trade("b"), op_id="fill-1").replayed


@pytest.mark.requirement("Z-10", api="Keep.resolve")
def test_operations_are_known_when_the_keep_is_opened_again(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/bot.db", f"json:///{tmp_path}/bot"):
        with quantkeep.open(url) as keep:
            first = keep.tape.append(trade(), op_id="fill-1")
        with quantkeep.open(url) as keep:
            assert keep.resolve("fill-1") is not None
            assert keep.tape.append(trade(), op_id="fill-1").revisions == first.revisions
            assert keep.tape.table(Trade).count() == 1


# -- batches of several stores ---------------------------------------------------------------------


@pytest.mark.requirement("Z-8", "Z-10", api="Keep.batch")
def test_a_batch_of_several_stores_applies_at_once_and_once(keep: Keep) -> None:
    for replayed in (False, True):
        with keep.batch(op_id="fill-1") as batch:
            empty = keep.tape.append(trade(), batch=batch)
            keep.sessions.bot_state.save("balance", 100, batch=batch)
            assert empty.revisions == ()
            assert keep.tape.table(Trade).count() == int(replayed)
        assert batch.receipt is not None
        assert batch.receipt.replayed is replayed
        assert keep.tape.table(Trade).count() == 1
        assert keep.sessions.bot_state.load("balance") == 100


@pytest.mark.requirement("Z-8", api="Keep.batch")
def test_nothing_of_a_batch_applies_if_part_of_it_cannot(keep: Keep) -> None:
    batch = keep.batch()
    keep.tape.append(trade("a"), batch=batch)
    keep.sessions.bot_state.save("balance", 100, batch=batch)
    values = keep.sessions.table(BotValue)
    batch.add(keep.backend, [values.put(BotValue(key="other", value=1), AtRevision(7))])
    with pytest.raises(Conflict, match="was expected at revision 7"):
        batch.commit()
    assert batch.receipt is None
    assert keep.tape.table(Trade).count() == 0
    assert keep.sessions.bot_state.load("balance") is None


@pytest.mark.requirement("Z-8", api="Keep.batch")
def test_a_batch_whose_block_fails_is_not_committed(keep: Keep) -> None:
    def fails() -> None:
        with keep.batch() as batch:
            keep.tape.append(trade("a"), batch=batch)
            keep.tape.append(trade("b", qty=float("nan")), batch=batch)

    with pytest.raises(quantkeep.InvalidValue, match=r"Trade\.qty"):
        fails()
    assert keep.tape.table(Trade).count() == 0


@pytest.mark.requirement("Z-8", api="Keep.batch")
def test_a_batch_has_one_id_and_one_backend(keep: Keep) -> None:
    with pytest.raises(Unsupported, match=r"give the op_id to keep\.batch"):
        keep.tape.append(trade(), op_id="x", batch=keep.batch())
    with quantkeep.open({"default": "memory://", "tape": "memory://?"}) as two:
        batch = two.batch()
        two.tape.append(trade(), batch=batch)
        with pytest.raises(Unsupported, match="Commit the tape first"):
            two.sessions.bot_state.save("x", 1, batch=batch)
        batch.commit()
        assert two.tape.table(Trade).count() == 1
        assert two.sessions.bot_state.load("x") is None


# -- levels and errors -----------------------------------------------------------------------------


def test_every_backend_says_its_level_and_is_held_to_it(url: str, tmp_path: Path) -> None:
    with quantkeep.open(url) as keep:
        level = keep.backend.durability
        (health,) = keep.health().values()
        assert health.durability is level
    expected = {"memory://": Durability.MEMORY}
    assert level is expected.get(url, Durability.DISK)
    quantkeep.open(url, durability=level).close()
    higher = Durability(level + 1)
    new = url.replace(str(tmp_path), f"{tmp_path}/new")
    (tmp_path / "new").mkdir()
    with pytest.raises(DurabilityNotMet, match=f"'{higher.name.lower()}' was demanded") as caught:
        quantkeep.open(new, durability=higher)
    assert (caught.value.applied, caught.value.retryable) == ("no", False)
    with pytest.raises(DurabilityNotMet):
        quantkeep.open({"default": url, "durability": higher.name.lower()})


def every(kind: type[QuantkeepError]) -> Iterator[type[QuantkeepError]]:
    yield kind
    for more in kind.__subclasses__():
        yield from every(more)


@pytest.mark.requirement("Z-12", "Z-15", api="quantkeep.QuantkeepError")
def test_every_error_says_whether_it_was_applied_and_may_be_tried_again() -> None:
    kinds = {kind for kind in every(QuantkeepError) if kind.__module__ == errors.__name__}
    assert len(kinds) > 25
    assert {k.__name__ for k in kinds if k.applied != "no"} == {"OutcomeUnknown", "WriterPoisoned"}
    assert {k.__name__ for k in kinds if k.retryable} == {"Busy", "Unavailable"}
    named = {"Conflict", "StaleOwner", "Corrupt", "Unsupported", "Unavailable", "Busy", "StoreFull"}
    named |= {"OutcomeUnknown", "NotFound", "DurabilityNotMet", "FormatTooNew", "Invalid"}
    assert named <= {k.__name__ for k in kinds}
    for kind in kinds:
        assert (kind("said", op_id="x").op_id, str(kind("said"))) == ("x", "said")
        assert kind.__name__ in (errors.__doc__ or "")
