"""The kit's own records: together they use everything a record can declare."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from quantkeep import Record, field, record
from quantkeep.collection import Reference

Mode = Literal["paper", "live", "backtest", "test"]


@record("kit_specimens", key=("name",))
class Specimen(Record):
    """One value of every kind, each of which may be null."""

    name: str
    text: str | None = None
    integer: int | None = None
    real: float | None = None
    decimal: Decimal | None = None
    price: Decimal | None = field(default=None, precision=(20, 8))
    flag: bool | None = None
    instant: datetime | None = None
    day: date | None = None
    token: UUID | None = None
    blob: bytes | None = None
    document: Any = None


@record("kit_complete", key=("name",))
class Complete(Record):
    """One value of every kind, none of which may be null."""

    name: str
    text: str
    integer: int
    real: float
    decimal: Decimal
    flag: bool
    instant: datetime
    day: date
    token: UUID
    blob: bytes
    document: dict[str, Any]


@record(
    "kit_entries",
    log=True,
    stream=("account", "mode"),
    identity=("uid",),
    indexes=[("symbol", "happened_at")],
)
class Entry(Record):
    """An entry of a log: streams by account and mode, idempotent by ``uid``."""

    account: str = "default"
    mode: Mode = "paper"
    uid: str | None = None
    number: int = 0
    symbol: str | None = field(default=None, index=True)
    happened_at: datetime | None = None
    price: Decimal | None = None
    note: Any = None


@record()
class WiderEntry(Entry):
    """The kit's entry, as a program knows it that added two fields."""

    venue: str | None = field(default=None, index=True)
    fee: Decimal | None = None


@record("kit_positions", key=("account", "mode", "symbol"))
class Position(Record):
    """Known by three texts, of which the mode keeps paper from live."""

    account: str = "default"
    mode: Mode = "paper"
    symbol: str
    size: Decimal | None = None


@record("kit_coordinates", key=("number", "amount", "flag", "instant", "day", "token"))
class Coordinate(Record):
    """Known by a value of every other kind that a key may have."""

    number: int
    amount: Decimal
    flag: bool
    instant: datetime
    day: date
    token: UUID
    text: str = ""


@record("kit_settings", key=("owner", "name"), stream=("owner",))
class Setting(Record):
    """Keyed, with a numbering of its own for each owner."""

    owner: str
    name: str
    value: int = 0


@record("kit_seats", key=("seat",), unique=[("hall", "number")])
class Seat(Record):
    """Hall and number are unique together, and each may be null."""

    seat: str
    hall: str | None = None
    number: int | None = None


@record("kit_parties", key=("party",))
class Party(Record):
    """What orders refer to."""

    party: str
    name: str | None = None


@record("kit_orders", key=("order",))
class Order(Record):
    """Refers to a party, if it has one; a party with orders cannot be deleted."""

    order: str
    party: str | None = field(default=None, references="kit_parties", index=True)
    side: Literal["buy", "sell"] = "buy"
    status: str = field(default="open", choices=["open", "filled"], extensible=True)


@record("kit_legs", key=("order", "leg"))
class Leg(Record):
    """Part of an order, and deleted with it."""

    order: str = field(references="kit_orders", on_delete="cascade")
    leg: int


@record("kit_fills", key=("fill",), references=[Reference(("order", "leg"), "kit_legs")])
class Fill(Record):
    """Refers to a leg by both parts of its key; a leg with fills cannot be deleted."""

    fill: str
    order: str | None = None
    leg: int | None = None


@record("kit_charters", key=("name",), immutable=True)
class Charter(Record):
    """Never changed once it is stored."""

    name: str
    text: str = ""


@record("kit_leases", key=("name",))
class Lease(Record):
    """Whoever holds the token may write."""

    name: str
    token: int
    owner: str | None = None


KIT_RECORDS: Final[tuple[type[Record], ...]] = (
    Specimen,
    Complete,
    Entry,
    Position,
    Coordinate,
    Setting,
    Seat,
    Party,
    Order,
    Leg,
    Fill,
    Charter,
    Lease,
)
