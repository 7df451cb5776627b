"""Declaring records: what an annotation says, what contradicts itself, what extension may do."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import pytest

import quantkeep
from quantkeep import Record, field, record, schema
from quantkeep.collection import Index, Reference
from quantkeep.columns import Kind
from quantkeep.errors import FormatTooNew, InvalidRecord, InvalidValue


@record("fills", log=True, stream=("account",), identity=("uid",), indexes=[("account", "at")])
class Fill(Record):
    """One execution."""

    account: str = "default"
    uid: str | None = None
    at: datetime = field(index=True, doc="when it happened")
    side: Literal["LONG", "SHORT"]
    price: Decimal = field(precision=(20, 8))
    qty: float = field(finite=True, between=(0.0, 1e9))
    day: date | None = None
    ticket: UUID | None = None
    proof: bytes | None = None
    ok: bool = True
    count: int = 0
    raw: dict[str, Any] | None = None


@record()
class RankedFill(Fill):
    """A fill with a rank of the user's own."""

    rank: int | None = field(default=None, index=True)


def fill(**changes: Any) -> Fill:
    said = {
        "at": datetime(2025, 1, 17, tzinfo=UTC),
        "side": "LONG",
        "price": Decimal(5),
        "qty": 1.0,
    }
    return Fill(**{**said, **changes})


@pytest.mark.requirement("Z-3", api="quantkeep.record")
def test_the_annotations_say_the_shape() -> None:
    said = {c.name: (c.kind, c.nullable) for c in Fill.collection.columns}
    assert said["uid"] == (Kind.TEXT, True)
    assert said["at"] == (Kind.TIMESTAMP, False)
    assert said["raw"] == (Kind.DOCUMENT, True)
    assert [said[n][0] for n in ("price", "qty", "day", "ticket", "proof", "ok", "count")] == [
        Kind.DECIMAL, Kind.REAL, Kind.DATE, Kind.UUID, Kind.BINARY, Kind.BOOLEAN, Kind.INTEGER,
    ]  # fmt: skip
    assert Fill.collection.column("side").choices == ("LONG", "SHORT")
    assert Fill.collection.column("price").precision == 20
    assert Fill.collection.indexes == (Index(("account", "at")), Index(("at",)))
    assert Fill.collection.doc == "One execution."
    assert Fill.collection.immutable


@pytest.mark.requirement("Z-20", api="quantkeep.InvalidValue")
def test_a_field_that_is_left_out_is_named() -> None:
    with pytest.raises(InvalidValue, match=r"Fill\.at: is required"):
        Fill(side="LONG", price=Decimal(1), qty=1.0)


def test_records_are_compared_by_content_and_replaced_not_changed() -> None:
    assert fill() == fill()
    assert fill().replace(qty=2.0) == fill(qty=2.0)
    assert fill().revision is None
    assert fill().as_dict()["qty"] == 1.0
    with pytest.raises(AttributeError):
        fill().qty = 2.0  # type: ignore[misc]  # what must not work


@pytest.mark.requirement("CODEX-5", "Z-3", api="quantkeep.record")
def test_an_extension_adds_nullable_fields_and_indexes_to_the_same_collection() -> None:
    assert RankedFill.collection.name == "fills"
    assert RankedFill.collection.names == (*Fill.collection.names, "rank")
    assert Index(("rank",)) in RankedFill.collection.indexes
    with pytest.raises(InvalidRecord, match="must allow None"):

        @record()
        class Late(Fill):
            """Comes late."""

            rank: int


@pytest.mark.parametrize("said", [{"key": ("a",)}, {"log": True, "stream": ("a",)}])
@pytest.mark.parametrize("kind", [bytes, Any])
def test_what_has_no_order_is_no_part_of_a_key_or_stream(kind: Any, said: dict[str, Any]) -> None:
    with pytest.raises(InvalidRecord, match=r"things\.a: a \w+ column has no order.*use text"):

        @record("things", **said)
        class Thing(Record):
            """A thing."""

            a: kind


def test_declarations_that_contradict_themselves_are_refused() -> None:
    def declare(name: str = "things", **said: Any) -> None:
        @record(name, **said)
        class Thing(Record):
            """A thing."""

            a: str

    with pytest.raises(InvalidRecord, match="a log has no key"):
        declare()
    with pytest.raises(InvalidRecord, match="a log has no key"):
        declare(log=True, key=("a",))
    with pytest.raises(InvalidRecord, match="no column 'b'"):
        declare(key=("b",))
    with pytest.raises(InvalidRecord, match="cannot name a collection"):
        declare("../../etc", key=("a",))
    with pytest.raises(InvalidRecord, match=r"things\.revision: entries of a log are known by"):

        @record("things", log=True)
        class Numbered(Record):
            """An entry with a revision of its own."""

            revision: int = 0

    with pytest.raises(InvalidRecord, match=r"Enveloped\.envelope: .* call the field otherwise"):

        @record("things", key=("a",))
        class Enveloped(Record):
            """A thing in an envelope."""

            a: str
            envelope: str | None = None  # type: ignore[assignment]

    with pytest.raises(InvalidRecord, match="extends no record"):

        @record()
        class Orphan(Record):
            """Nobody's."""


@pytest.mark.requirement("X-3", "X-4", "X-7")
def test_a_record_comes_back_as_it_went_in_with_its_envelope() -> None:
    made = fill(
        uid="a", day=date(2025, 1, 17), ticket=UUID(int=7), proof=b"\x00", raw={"nan": [None, 1]}
    )
    with quantkeep.open("memory://", records=[Fill]) as keep:
        fills = keep.table(Fill)
        assert keep.commit(fills.append([made])).revision == 1
        back = fills.fetch("default", 1)
        assert back == made
        assert back.envelope is not None
        assert back.envelope.created_at == back.envelope.updated_at
        assert fills.head("default") == 1


@pytest.mark.requirement("Z-3", api="quantkeep.schema")
def test_a_keep_describes_its_own_collections() -> None:
    text = schema.describe([Fill.collection])
    (back,) = schema.understand(text)
    assert back == Fill.collection
    assert back.record is None
    with pytest.raises(FormatTooNew, match="upgrade"):
        schema.understand('{"collections": {}, "format": 99}')
    for changed in (text[:-20], text.replace('"format": 1', '"format": 99')):
        with pytest.raises(quantkeep.Corrupt):
            schema.understand(changed)


@pytest.mark.requirement("MARA-37", "BT-24", api="quantkeep.open(migrate=True)")
def test_schemas_are_merged_by_adding() -> None:
    base, wider = Fill.collection, RankedFill.collection
    assert schema.merge([base], [wider])[0].names == wider.names
    assert schema.merge([wider], [base])[0].names == wider.names
    import attrs

    with pytest.raises(FormatTooNew, match="schema version 2"):
        schema.merge([base], [attrs.evolve(base, schema_version=2)])
    with pytest.raises(InvalidRecord, match="its stream is stored"):
        schema.merge([base], [attrs.evolve(base, stream=())])
    other = attrs.evolve(base.columns[0], kind=Kind.INTEGER)
    with pytest.raises(InvalidRecord, match="stored as integer and declared as text"):
        schema.merge([base], [attrs.evolve(base, columns=(other, *base.columns[1:]))])


def test_references_are_said_by_fields_or_together() -> None:
    @record("legs", key=("leg",), references=[Reference(("a", "b"), "pairs")])
    class Leg(Record):
        """A leg."""

        leg: str
        a: str
        b: str
        user: str = field(references="users", on_delete="cascade")

    assert Leg.collection.references == (
        Reference(("a", "b"), "pairs"),
        Reference(("user",), "users", "cascade"),
    )


@pytest.mark.requirement("CODEX-5", "Z-3")
def test_fields_that_the_keep_has_no_room_for_are_refused_not_dropped() -> None:
    ranked = RankedFill(**fill().as_dict(), rank=3)
    with (
        quantkeep.open("memory://", records=[Fill]) as keep,
        pytest.raises(InvalidRecord, match=r"rank has no column .*records=\[RankedFill\]"),
    ):
        keep.table(Fill).append([ranked])
    with quantkeep.open("memory://", records=[RankedFill]) as keep:
        fills = keep.table(RankedFill)
        keep.commit(fills.append([ranked, fill()]))  # type: ignore[list-item]  # what it extends
        assert [f.rank for f in fills.scan()] == [3, None]
        with pytest.raises(InvalidRecord, match="is not a RankedFill"):
            fills.append(["fill"])  # type: ignore[list-item]  # what must not work
