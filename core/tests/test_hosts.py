"""The registry of host types: the caller's own classes in documents, and back."""

import enum
import sys
import types
import typing
from collections.abc import Callable
from dataclasses import FrozenInstanceError, InitVar, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import attrs
import cattrs
import pytest

from quantkeep.documents import Opaque, decode, encode, is_canonical
from quantkeep.errors import Corrupt, InvalidValue
from quantkeep.hosts import Hosts


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Status(enum.StrEnum):
    OPEN = "open"
    FILLED = "filled"


@attrs.define
class Order:
    order_id: str
    side: Side
    price: Decimal
    quantity: Decimal
    submitted_at: datetime
    status: Status = Status.OPEN


@dataclass
class ArbitrageTrade:
    symbol: str
    order_a: Order
    order_b: Order | None = None
    spread_bps: float = 0.0
    tags: set[str] = field(default_factory=set)


def order(name: str = "a-1", **changes: Any) -> Order:
    return attrs.evolve(
        Order(
            order_id=name,
            side=Side.BUY,
            price=Decimal("97123.50"),
            quantity=Decimal("0.010"),
            submitted_at=datetime(2025, 1, 17, 9, 30, 0, 123456, tzinfo=UTC),
        ),
        **changes,
    )


def round_trip(value: Any, hosts: Hosts) -> Any:
    text = encode(value, hosts)
    assert is_canonical(text)
    back = decode(text, hosts)
    assert type(back) is type(value)
    assert encode(back, hosts) == text
    return back


# --- live objects ---------------------------------------------------------------------------------


@pytest.mark.requirement("D70-23", "D70-29", "Z-40", api="Hosts")
def test_an_open_position_with_its_live_orders_comes_back_as_it_was():
    trade = ArbitrageTrade("BTC", order(), order("b-1", side=Side.SELL, status=Status.FILLED))
    trade.tags |= {"upbit", "binance"}
    state = {"active_orders": {"BTC": {"trade": trade, "order_a": trade.order_a, "order_b": None}}}
    back = round_trip(state, Hosts([ArbitrageTrade]))
    assert back == state
    restored = back["active_orders"]["BTC"]["trade"]
    assert type(restored) is ArbitrageTrade
    assert type(restored.order_b) is Order
    assert restored.order_b.side is Side.SELL
    assert restored.order_b.status is Status.FILLED
    assert str(restored.order_a.quantity) == "0.010"
    assert restored.order_a.submitted_at.tzinfo is UTC


@pytest.mark.requirement("D70-23")
def test_an_object_that_nobody_registered_is_refused_with_its_path():
    positions = {"active_orders": {"BTC": {"order_a": order()}}}
    with pytest.raises(InvalidValue) as caught:
        encode(positions, Hosts([Side]), path="positions")
    assert caught.value.field == "positions.active_orders['BTC'].order_a"
    assert caught.value.value == order()
    assert str(caught.value) == (
        "positions.active_orders['BTC'].order_a: an object of type Order "
        f"({__name__}) cannot be kept as it is; expected a registered type: types=[Order] when "
        "the keep is opened"
    )


@pytest.mark.requirement("D70-29", api="Hosts.as_dict")
def test_an_order_as_a_dict():
    hosts = Hosts([ArbitrageTrade])
    hosts.register(PurePosixPath, unstructure=str, structure=PurePosixPath)
    trade = ArbitrageTrade("BTC", order())
    as_dict = hosts.as_dict({"trades": [trade], "file": (PurePosixPath("a/b"), 1)})
    assert as_dict["file"] == ("a/b", 1)
    (fields,) = as_dict["trades"]
    assert fields["symbol"] == "BTC"
    assert fields["order_a"] == attrs.asdict(trade.order_a)
    assert fields["order_a"]["side"] is Side.BUY


@pytest.mark.requirement("D70-29")
def test_as_dict_names_the_hook_that_failed():
    hosts = Hosts()
    hosts.register(PurePosixPath, unstructure=_fails, structure=PurePosixPath)
    with pytest.raises(InvalidValue, match="unstructure hook of PurePosixPath failed: 'no'"):
        hosts.as_dict(PurePosixPath("a"))


def _fails(_value: Any) -> Any:
    raise KeyError("no")


# --- the shapes of classes ------------------------------------------------------------------------


@attrs.frozen
class Frozen:
    _secret: int
    shown: Any = attrs.field(alias="visible", default=None)


@attrs.define
class Late:
    given: int
    made: list[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.made = [self.given]


@dataclass(frozen=True, slots=True)
class LateFrozen:
    given: int
    made: int = field(init=False, default=0)


@dataclass(kw_only=True)
class Plain:
    a: Any = None


class Fill(NamedTuple):
    price: float
    venue: Any = "upbit"


@dataclass
class Limit(Plain):
    b: int = 0


@attrs.define
class Empty:
    pass


def _late() -> Late:
    late = Late(1)
    late.made.append(2)
    return late


def _late_frozen() -> LateFrozen:
    made = LateFrozen(1)
    object.__setattr__(made, "made", 7)
    return made


@pytest.mark.requirement("Z-40", "D70-23")
@pytest.mark.parametrize(
    "value",
    [
        Frozen(1, visible="x"),
        _late(),
        _late_frozen(),
        Plain(a=[Plain(a={"b": Frozen(2)})]),
        Fill(1.5),
        Fill(1.5, Fill(2.5, None)),
        Limit(a=(1,), b=2),
        Empty(),
        {Frozen(1), Fill(1.0), Side.BUY},
        {"a": frozenset({Status.OPEN})},
    ],
    ids=repr,
)
def test_objects_of_every_kind_of_class_come_back(value):
    hosts = Hosts([Frozen, Late, LateFrozen, Plain, Fill, Limit, Empty, Side, Status])
    assert round_trip(value, hosts) == value


def test_a_frozen_object_is_still_frozen_when_it_comes_back():
    back = round_trip(_late_frozen(), Hosts([LateFrozen]))
    with pytest.raises(FrozenInstanceError):
        back.given = 2


def test_a_field_that_was_never_set_is_left_out():
    bare = Late.__new__(Late)
    bare.given = 3
    text = encode(bare, Hosts([Late]))
    assert text == '{"$host":["Late",{"given":3}]}'
    assert decode(text, Hosts([Late])) == Late(3)


@pytest.mark.requirement("Z-40")
def test_a_value_is_kept_by_what_it_is_not_by_what_its_field_says():
    hosts = Hosts([Plain, Limit, Order])
    for inside in (Limit(b=1), 1, 1.0, "1", Decimal(1), [order()], None):
        back = round_trip(Plain(a=inside), hosts)
        assert type(back.a) is type(inside)
        assert back.a == inside


@pytest.mark.requirement("Z-40")
def test_a_subclass_is_a_class_of_its_own():
    @attrs.define
    class StopOrder(Order):
        stop: Decimal = Decimal(0)

    stop = StopOrder(**attrs.asdict(order()), stop=Decimal(9))
    trade = ArbitrageTrade("BTC", stop)
    hosts = Hosts([ArbitrageTrade])
    with pytest.raises(InvalidValue, match=r"order_a: .*StopOrder"):
        encode(trade, hosts)
    hosts.register(StopOrder)
    assert type(round_trip(trade, hosts).order_a) is StopOrder


class Venue(enum.IntEnum):
    UPBIT = 1
    BINANCE = 2
    OKEX = 2


class Allowed(enum.Flag):
    NONE = 0
    OPEN = enum.auto()
    CLOSE = enum.auto()
    BOTH = OPEN | CLOSE


class Bits(enum.IntFlag):
    LOW = 1
    HIGH = 4


class Named(enum.Enum):
    ONE = ("uno", 1)

    def __init__(self, name: str, number: int) -> None:
        self.spanish = name
        self.number = number

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.requirement("Z-4")
@pytest.mark.parametrize(
    ("member", "content"),
    [
        (Venue.UPBIT, '"UPBIT"'),
        (Venue.OKEX, '"BINANCE"'),
        (Status.OPEN, '"OPEN"'),
        (Named.ONE, '"ONE"'),
        (Allowed.NONE, '"NONE"'),
        (Allowed.OPEN, '"OPEN"'),
        (Allowed.BOTH, '"BOTH"'),
        (Bits.LOW | Bits.HIGH, '["LOW","HIGH"]'),
        (Bits(0), "[]"),
        (Bits(7), '["LOW","HIGH",2]'),
        (Bits(8), "[8]"),
    ],
)
def test_members_of_enums_come_back_by_name(member, content):
    hosts = Hosts([type(member)])
    text = encode(member, hosts)
    assert text == f'{{"$enum":["{type(member).__name__}",{content}]}}'
    assert decode(text, hosts) is member or decode(text, hosts) == member
    assert type(decode(text, hosts)) is type(member)


def test_unnamed_bits_of_a_flag_have_the_limit_of_integers():
    assert "beyond 64" in str(_refused(lambda: encode(Bits(2**63), Hosts([Bits]))))


@pytest.mark.parametrize("content", ['"GONE"', "1", "null", '["GONE"]', "[1.5]", "[null]", "{}"])
@pytest.mark.parametrize("cls", [Side, Allowed])
def test_a_member_that_is_gone_is_refused_with_those_there_are(cls, content):
    text = f'{{"$enum":["{cls.__name__}",{content}]}}'
    error = _refused(lambda: decode(f'{{"a":{text}}}', Hosts([cls])))
    assert error.field == "a"
    assert "alias" in str(error)
    assert next(iter(cls)).name in str(error)
    lenient = decode(text, Hosts([cls]), strict_types=False)
    assert isinstance(lenient, Opaque)
    assert encode(lenient, Hosts()) == text


def _refused(call: Callable[[], Any]) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        call()
    return caught.value


class Open24(enum.Enum):
    A = 1

    @classmethod
    def _missing_(cls, value: object) -> "Open24":
        made = object.__new__(cls)
        made._name_, made._value_ = f"OTHER_{value}", value
        return made


def test_a_member_that_its_class_does_not_list_is_refused():
    assert _refused(lambda: encode([Open24(2)], Hosts([Open24]))).field == "[0]"


def test_objects_inside_objects_end_at_the_limit_of_nesting():
    chain = None
    for _ in range(70):
        chain = Node(chain)
    error = _refused(lambda: encode(chain, Hosts([Node])))
    assert "nested deeper than 200" in str(error)
    assert str(error.field).startswith("parent.parent")


# --- hooks ----------------------------------------------------------------------------------------


class Price:
    """A class that says nothing of what it consists of."""

    def __init__(self, ticks: int) -> None:
        self.ticks = ticks

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Price) and other.ticks == self.ticks

    def __hash__(self) -> int:
        return hash(self.ticks)


HOOKED: list[tuple[Callable[[Price], Any], Callable[[Any], Price]]] = [
    (lambda price: price.ticks, Price),
    (lambda price: {"$ticks": Decimal(price.ticks)}, lambda content: Price(int(content["$ticks"]))),
    (lambda price: (price.ticks, order()), lambda content: Price(content[0])),
]


@pytest.mark.requirement("Z-4", api="Hosts.register")
@pytest.mark.parametrize(("unstructure", "structure"), HOOKED)
def test_a_class_with_hooks_comes_back(unstructure, structure):
    hosts = Hosts([Order])
    hosts.register(Price, name="price", unstructure=unstructure, structure=structure)
    assert round_trip({"a": [Price(3)]}, hosts) == {"a": [Price(3)]}


@pytest.mark.requirement("Z-4")
def test_a_class_with_hooks_in_the_converter_comes_back():
    converter = cattrs.Converter()
    with pytest.raises(InvalidValue, match="does not say what it consists of"):
        Hosts([Price], converter=converter)
    converter.register_unstructure_hook(Price, lambda price: {"ticks": price.ticks})
    with pytest.raises(InvalidValue, match="hooks"):
        Hosts([Price], converter=converter)
    converter.register_structure_hook(Price, lambda content, _: Price(content["ticks"]))
    hosts = Hosts([Price], converter=converter)
    assert round_trip([Price(3)], hosts) == [Price(3)]


def test_hooks_win_over_what_a_class_says_of_itself():
    hosts = Hosts()
    hosts.register(Fill, unstructure=list, structure=lambda content: Fill(*content))
    assert encode(Fill(1.5, "okx"), hosts) == '{"$host":["Fill",[1.5,"okx"]]}'
    assert round_trip([Fill(1.5, "okx")], hosts) == [Fill(1.5, "okx")]


def test_what_a_hook_gives_is_checked_like_all_else():
    hosts = Hosts()
    hosts.register(Price, unstructure=lambda price: {"at": price}, structure=Price)
    assert "nested deeper" in str(_refused(lambda: encode({"p": Price(1)}, hosts)))
    hosts.register(Price, unstructure=lambda price: {"of": [object()]}, structure=Price)
    assert _refused(lambda: encode({"p": Price(1)}, hosts)).field == "p.of[0]"


def test_a_hook_that_fails_is_named_with_the_path():
    hosts = Hosts()
    hosts.register(Price, unstructure=_fails, structure=_fails)
    error = _refused(lambda: encode({"p": [Price(1)]}, hosts))
    assert error.field == "p[0]"
    assert "unstructure hook of Price" in str(error)
    assert isinstance(error.__cause__, KeyError)
    error = _refused(lambda: decode('{"p":[{"$host":["Price",1]}]}', hosts))
    assert error.field == "p[0]"
    assert "structure hook" in str(error)
    assert isinstance(error.__cause__, KeyError)


# --- what else is registered ----------------------------------------------------------------------


class Leg(NamedTuple):
    side: Side


@attrs.define
class Box(Generic[typing.TypeVar("T")]):
    content: Any


@dataclass
class Node:
    parent: "Node | None" = None
    kind: Literal[Venue.UPBIT, "other"] = "other"


class Row(TypedDict):
    limit: Limit


Alias = NewType("Alias", Late)
Bound = TypeVar("Bound", bound=Plain)


@pytest.mark.requirement("Z-4", "D70-23")
@pytest.mark.parametrize(
    ("annotation", "names"),
    [
        (Leg, {"Leg", "Side"}),
        (Leg | None, {"Leg", "Side"}),
        (typing.Optional[Leg], {"Leg", "Side"}),  # noqa: UP045 - users write it so
        (list[Leg], {"Leg", "Side"}),
        (dict[str, list[tuple[Leg, ...]]], {"Leg", "Side"}),
        (typing.Union[Leg, "Node"], {"Leg", "Side", "Node", "Venue"}),
        ("ArbitrageTrade", {"ArbitrageTrade", "Order", "Side", "Status"}),
        ("list[Node]", {"Node", "Venue"}),
        (Annotated[Side, "doc"], {"Side"}),
        (typing.ClassVar[Side], set()),
        (Box[Leg], {"Box", "Leg", "Side"}),
        (Row, {"Limit"}),
        (Alias, {"Late"}),
        (Bound, {"Plain"}),
        (Any, set()),
        (int, set()),
        (Price, set()),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [attrs.define, dataclass])
def test_the_classes_that_annotations_name_are_registered_too(annotation, names, make):
    cls = make(
        types.new_class(
            "Holder",
            exec_body=lambda body: body.update(
                __annotations__={"held": annotation}, __module__=__name__, __qualname__="Holder"
            ),
        )
    )
    assert set(Hosts([cls]).names()) == {"Holder"} | names


def test_a_name_for_type_checkers_only_does_not_hide_the_others():
    @dataclass
    class Strategy:
        engine: "OnlyForTypeCheckers"  # noqa: F821
        order: "Order"

    assert {"Order", "Side"} <= set(Hosts([Strategy]).names())


def test_a_type_alias_that_names_itself_ends():
    class Alias:  # as `type Json = list[Json] | Side` makes it from Python 3.12 on
        __value__: Any = None

    json = Alias()
    json.__value__ = tuple[json, Side]
    cls = dataclass(type("Holder", (), {"__annotations__": {"held": json}}))
    assert "Side" in Hosts([cls]).names()


@pytest.mark.requirement("Z-3", "Z-4")
def test_a_registry_describes_itself_in_a_plain_document():
    hosts = Hosts([ArbitrageTrade])
    hosts.register(Price, unstructure=lambda price: price.ticks, structure=Price)
    described = hosts.describe()
    assert described == {
        "ArbitrageTrade": ["symbol", "order_a", "order_b", "spread_bps", "tags"],
        "Order": ["order_id", "side", "price", "quantity", "submitted_at", "status"],
        "Price": [],
        "Side": ["BUY", "SELL"],
        "Status": ["OPEN", "FILLED"],
    }
    assert list(described) == hosts.names()
    assert decode(encode(described, Hosts()), Hosts()) == described
    assert Order in hosts
    assert Fill not in hosts
    assert "Order" not in hosts
    assert [Order] not in hosts


def test_two_registries_know_nothing_of_each_other():
    one, other = Hosts([Fill]), Hosts()
    encode(Fill(1.0), one)
    with pytest.raises(InvalidValue):
        encode(Fill(1.0), other)


# --- names ----------------------------------------------------------------------------------------


def _another(name: str) -> type:
    return dataclass(type(name, (), {"__annotations__": {"x": int}, "__module__": "elsewhere"}))


@pytest.mark.requirement("Z-4")
def test_two_classes_of_one_name_need_a_name_each():
    other = _another("Order")
    hosts = Hosts([Order])
    error = _refused(lambda: hosts.register(other))
    assert "elsewhere.Order" in str(error)
    assert f"{__name__}.Order" in str(error)
    assert "name=" in str(error)
    assert other not in hosts
    hosts.register(other, name="elsewhere.Order")
    assert round_trip([order(), other(1)], hosts) == [order(), other(1)]


def test_a_clash_deep_inside_registers_nothing():
    hosts = Hosts()
    hosts.register(_another("Order"))
    _refused(lambda: hosts.register(ArbitrageTrade))
    assert hosts.names() == ["Order"]


@pytest.mark.requirement("D70-32")
def test_a_renamed_class_is_read_under_its_old_name():
    text = encode(Fill(1.5), Hosts([Fill]))

    class Execution(NamedTuple):
        price: float
        venue: Any = "upbit"

    hosts = Hosts()
    hosts.register(Execution, name="Fill")
    assert decode(text, hosts) == Execution(1.5)
    assert encode(decode(text, hosts), hosts) == text


def test_a_class_registered_again_is_what_was_said_last():
    hosts = Hosts([ArbitrageTrade])
    hosts.register(Order, name="order")
    assert "Order" not in hosts.names()
    trade = ArbitrageTrade("BTC", order())
    assert '{"$host":["order",' in encode(trade, hosts)
    assert round_trip(trade, hosts) == trade
    hosts.register(ArbitrageTrade)
    assert "order" in hosts.names()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"cls": order()}, "not a class"),
        ({"cls": list[int]}, "not a class"),
        ({"cls": Price}, "does not say what it consists of"),
        ({"cls": dict}, "comes back as it is"),
        ({"cls": Decimal}, "comes back as it is"),
        ({"cls": Opaque}, "comes back as it is"),
        ({"cls": Price, "unstructure": str}, "both hooks"),
        ({"cls": Fill, "structure": str}, "both hooks"),
        ({"cls": Side, "upgrade": dict}, "alias"),
        ({"cls": Fill, "name": ""}, "readable text"),
        ({"cls": Fill, "name": "a\0"}, "readable text"),
        ({"cls": Fill, "name": 1}, "readable text"),
        ({"cls": enum.Enum("Odd", ["a\0"])}, "NUL"),
    ],
)
def test_what_cannot_be_registered_is_refused_with_what_to_do(arguments, said):
    hosts = Hosts()
    assert said in str(_refused(lambda: hosts.register(**arguments)))
    assert hosts.names() == []


@dataclass
class Wants:
    x: int
    wanted: InitVar[int]


@attrs.define(init=False)
class Stubborn:
    x: int

    def __init__(self, y: int = 0) -> None:
        self.x = y


@attrs.define(init=False)
class Open:
    x: int

    def __init__(self, **fields: int) -> None:
        self.x = fields["x"]


def test_a_class_whose_constructor_does_not_fit_its_fields_needs_hooks():
    assert "wants wanted" in str(_refused(lambda: Hosts([Wants])))
    assert "does not take the field x" in str(_refused(lambda: Hosts([Stubborn])))
    assert round_trip(Open(x=1), Hosts([Open])) == Open(x=1)
    hosts = Hosts()
    hosts.register(Wants, unstructure=lambda w: w.x, structure=lambda x: Wants(x, 0))
    assert round_trip(Wants(1, 2), hosts) == Wants(1, 2)


def test_a_class_that_hides_its_signature_is_taken_at_its_word():
    @attrs.define
    class Hidden:
        x: int

    Hidden.__signature__ = "hidden"
    assert round_trip(Hidden(1), Hosts([Hidden])) == Hidden(1)


def test_a_class_that_cannot_be_kept_is_passed_over_unless_asked_for():
    @dataclass
    class Holder:
        wants: Wants | None = None

    hosts = Hosts([Holder])
    assert round_trip(Holder(), hosts) == Holder()
    error = _refused(lambda: encode(Holder(Wants(1, 2)), hosts))
    assert error.field == "wants"


# --- classes that are not here --------------------------------------------------------------------


@pytest.mark.requirement("Z-4", api="documents.Opaque")
def test_an_object_of_an_unknown_class_is_refused_or_kept_whole():
    state = {"orders": {"BTC": [ArbitrageTrade("BTC", order())]}, "sides": {Side.BUY, Side.SELL}}
    text = encode(state, Hosts([ArbitrageTrade]))
    error = _refused(lambda: decode(text, Hosts([Side, Status])))
    assert error.field == "orders['BTC'][0].order_a"
    assert "Order" in str(error)
    assert "types=[Order]" in str(error)

    shown = decode(text, Hosts(), strict_types=False)
    trade = shown["orders"]["BTC"][0]
    assert (trade.name, trade.kind) == ("ArbitrageTrade", "host")
    assert trade.value["order_a"].value["price"] == Decimal("97123.50")
    assert trade.value["order_a"].value["side"] == Opaque("Side", "BUY", kind="enum")
    assert encode(shown, Hosts()) == text
    assert decode(encode(shown, Hosts()), Hosts([ArbitrageTrade])) == state


@pytest.mark.requirement("Z-4")
def test_a_known_class_around_an_unknown_one_is_shown_all_the_same():
    @attrs.define
    class Strict:
        order: Any = attrs.field(validator=attrs.validators.instance_of(Order))

    text = encode(Strict(order()), Hosts([Strict, Order]))
    hosts = Hosts([Strict, Side, Status])
    shown = decode(text, hosts, strict_types=False)
    assert isinstance(shown, Opaque)
    assert encode(shown, hosts) == text


@pytest.mark.requirement("Z-4")
def test_unknown_objects_in_a_set_are_kept_whole():
    text = encode({Frozen(1), Frozen(2)}, Hosts([Frozen]))
    shown = decode(text, Hosts(), strict_types=False)
    assert len(shown) == 2
    assert encode(shown, Hosts()) == text


@pytest.mark.requirement("Z-4")
@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "antigravity", "builtins.eval"])
def test_a_name_in_a_text_imports_nothing(name):
    before = set(sys.modules)
    for tag in ("$host", "$enum"):
        text = f'{{"{tag}":["{name}",{{"args":["true"]}}]}}'
        with pytest.raises(InvalidValue):
            decode(text, Hosts([Order]))
        assert isinstance(decode(text, Hosts([Order]), strict_types=False), Opaque)
    assert set(sys.modules) == before


def test_a_name_of_the_other_kind_is_not_that_class():
    for text in ('{"$enum":["Order","a"]}', '{"$host":["Side",{}]}'):
        with pytest.raises(InvalidValue, match="not registered"):
            decode(text, Hosts([Order]))
        assert isinstance(decode(text, Hosts([Order]), strict_types=False), Opaque)


# --- versions -------------------------------------------------------------------------------------


def _stored(cls: str, fields: str) -> str:
    return f'{{"a":[{{"$host":["{cls}",{fields}]}}]}}'


@pytest.mark.requirement("D70-32")
def test_a_field_added_since_takes_its_default():
    assert decode(_stored("Fill", '{"price":1.5}'), Hosts([Fill])) == {"a": [Fill(1.5, "upbit")]}


@pytest.mark.requirement("D70-32")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ('{"price":1.5,"size":2}', "has no field size"),
        ('{"venue":"okx"}', "price"),
        ("{}", "price"),
        ("[1.5]", "no fields"),
        ('{"$decimal":"1"}', "no fields"),
    ],
)
def test_stored_fields_that_no_longer_fit_are_refused_with_what_to_do(fields, said):
    text = _stored("Fill", fields)
    error = _refused(lambda: decode(text, Hosts([Fill])))
    assert error.field == "a[0]"
    assert "stored Fill" in str(error)
    assert said in str(error)
    shown = decode(text, Hosts([Fill]), strict_types=False)
    assert encode(shown, Hosts()) == text


@pytest.mark.requirement("D70-32")
def test_a_validator_that_refuses_is_the_cause():
    @attrs.define
    class Positive:
        x: int = attrs.field(validator=attrs.validators.gt(0))

    name = Positive.__qualname__
    error = _refused(lambda: decode(_stored(name, '{"x":0}'), Hosts([Positive])))
    assert isinstance(error.__cause__, ValueError)


@dataclass
class Holding:
    quantity: int
    version: int = 2


def _from_lots(fields: dict[str, Any]) -> dict[str, Any]:
    if fields.get("version", 1) == 1:
        fields["quantity"] = fields.pop("lots") * 100
        fields["version"] = 2
    return fields


@pytest.mark.requirement("D70-32", api="Hosts.register")
def test_upgrade_turns_the_fields_of_old_into_those_of_today():
    hosts = Hosts()
    hosts.register(Holding, upgrade=_from_lots)
    assert decode(_stored("Holding", '{"lots":3}'), hosts) == {"a": [Holding(300)]}
    assert round_trip(Holding(300), hosts) == Holding(300)


@pytest.mark.requirement("D70-32")
def test_upgrade_sees_the_objects_inside_and_serves_hooks_too():
    hosts = Hosts([Order])
    hosts.register(
        Price,
        unstructure=lambda price: {"ticks": price.ticks},
        structure=lambda fields: Price(fields["ticks"]),
        upgrade=lambda fields: (
            {"ticks": int(fields["order"].price)} if "order" in fields else fields
        ),
    )
    text = _stored("Price", f'{{"order":{encode(order(), hosts)}}}')
    assert decode(text, hosts) == {"a": [Price(97123)]}
    assert round_trip(Price(5), hosts) == Price(5)


@pytest.mark.requirement("D70-32")
@pytest.mark.parametrize(("upgrade", "said"), [(_fails, "failed: 'no'"), (list, "no dict")])
def test_an_upgrade_that_fails_is_named(upgrade, said):
    hosts = Hosts()
    hosts.register(Holding, upgrade=upgrade)
    text = _stored("Holding", '{"lots":3}')
    assert said in str(_refused(lambda: decode(text, hosts)))
    shown = decode(text, hosts, strict_types=False)
    assert encode(shown, Hosts()) == text


def test_upgrade_in_lenient_reading_does_not_change_what_is_shown():
    def spoil(fields: dict[str, Any]) -> dict[str, Any]:
        fields.clear()
        raise RuntimeError

    hosts = Hosts()
    hosts.register(Holding, upgrade=spoil)
    text = _stored("Holding", '{"lots":3}')
    assert encode(decode(text, hosts, strict_types=False), hosts) == text


def test_a_broken_tag_beside_an_unknown_class_is_corrupt():
    with pytest.raises(Corrupt):
        decode('{"a":{"$decimal":"x"},"b":{"$host":["Order",{}]}}', Hosts())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"$host":["X",{}]}', None),
        ('{"$tuple":[1,{"$host":["X",{}]}]}', "[1]"),
        ('{"a":{"$defaultdict":["float",{"B":{"$host":["X",{}]}}]}}', "a['B']"),
        ('{"a":{"$deque":[null,[{"$enum":["X","Y"]}]]}}', "a[0]"),
        ('{"$$a":{"$host":["Plain",{"a":{"b":[{"$host":["X",1]}]}}]}}', "['$a'].a.b[0]"),
        ('{"a":{"$host":["Plain",{"a":{"$host":["X",{"$tuple":[]}]}}]}}', "a.a"),
        ('{"$host":[{"$host":["X",{}]}]}', "[0]"),
        ('{"$deque":{"a":{"$host":["X",{}]}}}', "a"),
    ],
)
def test_an_unknown_class_is_named_with_the_path_to_it(text, path):
    error = _refused(lambda: decode(text, Hosts([Plain])))
    assert error.field == path
    assert error.value == "X"


def test_an_unknown_class_below_the_deepest_nesting_is_still_a_typed_error():
    text = "[" * 900 + '{"$host":["X",{}]}' + "]" * 900
    for hosts in (Hosts(), Hosts([Plain])):
        with pytest.raises((Corrupt, InvalidValue)):
            decode(text, hosts)
