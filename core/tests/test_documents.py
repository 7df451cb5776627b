"""The canonical codec of documents: one text for each value, and the value back, type included."""

import contextlib
import copy
import decimal
import enum
import json
import math
import re
import struct
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantkeep import documents
from quantkeep._document_plain import is_plain
from quantkeep._document_writer import dumps
from quantkeep.documents import MAX_DEPTH, Opaque, decode, encode, is_canonical, normalise
from quantkeep.errors import Corrupt, InvalidValue, TooLarge
from quantkeep.hosts import Hosts

PAGE = (Path(__file__).parents[2] / "docs" / "documents.md").read_text("utf-8")


class Text(str):
    __slots__ = ()


class Pair(NamedTuple):
    a: str
    b: str


def _page_classes() -> dict[str, Any]:
    (source,) = re.findall(r"```python\n(class Side.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {**vars(enum), **globals(), "timezone": timezone, "struct": struct}
    exec(source, names)
    return names


NAMES = _page_classes()
HOSTS = Hosts([NAMES["Position"], NAMES["Allowed"]])


def _blocks(kind: str) -> list[list[str]]:
    (block,) = re.findall(rf"```{kind}\n(.*?)\n```", PAGE, re.DOTALL)
    return [lines.split("\n") for lines in block.split("\n\n")]


VECTORS = [(expression, text) for expression, text in _blocks("vectors")]
REFUSED = [(case[0], case[1] if len(case) > 1 else "") for case in _blocks("refused")]


def exactly(left: Any, right: Any) -> bool:  # noqa: PLR0911 - a case for each type
    """Equal in type and content, at every depth; floats by their bits, Decimals by their digits."""
    if type(left) is not type(right):
        return False
    match left:
        case float():
            return struct.pack(">d", left) == struct.pack(">d", right)
        case Decimal():
            return left.as_tuple() == right.as_tuple()
        case set() | frozenset():
            return len(left) == len(right) and all(
                any(exactly(item, other) for other in right) for item in left
            )
        case OrderedDict():
            return exactly(list(left.items()), list(right.items()))
        case defaultdict() if left.default_factory is not right.default_factory:
            return False
        case dict():
            return left.keys() == right.keys() and all(exactly(left[k], right[k]) for k in left)
        case deque() if left.maxlen != right.maxlen:
            return False
        case list() | tuple() | deque():
            return len(left) == len(right) and all(map(exactly, left, right))
        case _ if attrs.has(type(left)) or hasattr(left, "__dataclass_fields__"):
            return all(exactly(getattr(left, n), getattr(right, n)) for n in left.__annotations__)
        case _:
            return bool(left == right)


def refusal(value: object, hosts: Hosts = HOSTS, path: str = "") -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        encode(value, hosts, path=path)
    return caught.value


# --- the published vectors ------------------------------------------------------------------------


@pytest.mark.requirement("Z-4", "X-3", api="documents.encode")
@pytest.mark.parametrize(("expression", "text"), VECTORS)
def test_a_published_value_has_its_published_text(expression, text):
    assert encode(eval(expression, dict(NAMES)), HOSTS) == text


@pytest.mark.requirement("Z-4", "X-3", "Z-40", api="documents.decode")
@pytest.mark.parametrize(("expression", "text"), VECTORS)
def test_a_published_text_gives_its_value_back(expression, text):
    value = eval(expression, dict(NAMES))
    back = decode(text, HOSTS, strict_types=not isinstance(value, Opaque))
    if isinstance(value, datetime):
        assert back.tzinfo is UTC
        assert back.timestamp() == value.timestamp()
    else:
        assert exactly(back, value)


@pytest.mark.requirement("Z-4")
@pytest.mark.parametrize("text", [text for _, text in VECTORS])
def test_a_published_text_is_canonical_without_its_classes(text):
    assert is_canonical(text)
    assert normalise(f" {text} ") == text


@pytest.mark.requirement("Z-4")
@pytest.mark.parametrize(("expression", "path"), REFUSED)
def test_what_is_published_as_refused_is_refused_with_its_path(expression, path):
    error = refusal(eval(expression, dict(NAMES)))
    assert (error.field or "") == path


def test_there_is_a_vector_for_every_tag():
    published = set(re.findall(r"^\| `(\$\w+)`", PAGE, re.MULTILINE))
    published |= set(re.findall(r"^\|.*?`(\$\w+)`, `(\$\w+)`, `(\$\w+)`", PAGE, re.MULTILINE)[0])
    used = {tag for _, text in VECTORS for tag in re.findall(r'"(\$[a-z]\w*)":', text)}
    assert published == used == set(HOSTS.reader._tags)


# --- any value ------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
keys = st.one_of(texts, st.sampled_from(["$", "$decimal", "$$host", "a$", "\\u0000"]))
floats = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack(">d", bits.to_bytes(8))[0])
offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    floats,
    st.floats(),
    texts,
    st.decimals(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.times(),
    st.times(timezones=offsets),
    st.timedeltas(),
    st.uuids(),
    st.binary(),
    st.sampled_from(NAMES["Side"]),
    st.sampled_from([NAMES["Allowed"](bits) for bits in range(4)]),
    st.builds(
        NAMES["Order"],
        id=texts,
        side=st.sampled_from(NAMES["Side"]),
        price=st.decimals(allow_nan=False),
    ),
)
hashable = scalars.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan()))


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(inner, max_size=4)
    mappings = st.dictionaries(keys, inner, max_size=4)
    return st.one_of(
        items,
        mappings,
        items.map(tuple),
        st.builds(deque, items, st.none() | st.integers(0, 5)),
        mappings.map(OrderedDict),
        st.builds(defaultdict, st.sampled_from([None, int, float, list, Decimal]), mappings),
        st.builds(NAMES["Position"], symbol=inner, entry=inner, _note=texts),
        st.sets(hashable, max_size=3),
        st.frozensets(hashable, max_size=3),
    )


values = st.recursive(scalars, _containers, max_leaves=12)


@pytest.mark.requirement("X-3", "Z-4", "Z-40", "D70-23")
@settings(max_examples=300, deadline=None)
@given(values)
def test_what_comes_out_equals_what_went_in_type_included(value):
    before = copy.deepcopy(value)
    text = encode(value, HOSTS)
    back = decode(text, HOSTS)
    assert exactly(back, value)
    assert exactly(value, before)
    assert encode(back, HOSTS) == text


@pytest.mark.requirement("Z-4")
@settings(max_examples=200, deadline=None)
@given(values)
def test_the_text_is_canonical_json_that_any_library_reads(value):
    text = encode(value, HOSTS)
    again = json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert again == text
    assert is_canonical(text)
    assert text.encode().decode() == text


@pytest.mark.requirement("Z-4")
@settings(max_examples=200, deadline=None)
@given(values, values)
def test_two_values_have_one_text_only_if_they_are_exactly_equal(left, right):
    assert (encode(left, HOSTS) == encode(right, HOSTS)) == exactly(left, right)


@settings(max_examples=200, deadline=None)
@given(values)
def test_the_quick_and_the_careful_way_write_the_same(value):
    careful = documents._encode_carefully(value, HOSTS)
    assert encode(value, HOSTS) == careful


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.requirement("Z-4", "X-3")
@settings(max_examples=500, deadline=None)
@given(plain | values)
def test_what_is_plain_at_a_glance_is_what_the_walk_leaves_alone(value):
    """A glance may hesitate; it may never take for plain what would have to be rewritten."""
    if is_plain(value):
        assert HOSTS.writer.any(value) is value


@settings(max_examples=300, deadline=None)
@given(plain)
def test_the_encoder_that_is_made_once_writes_what_one_made_for_each_value_does(value):
    made = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    try:
        expected = made.encode(value)
    except ValueError:
        with pytest.raises(ValueError, match="not JSON compliant"):
            dumps(value)
    else:
        assert dumps(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        (1,), [(1,)], {"a": {"b": ()}}, Text("a"), [Text("a")], {Text("a"): 1}, {1: 1}, {None: 1},
        {"$a": 1}, {"a$": 1}, [{"a": [2**63]}], [[-(2**63) - 1]], [Decimal(1)], [b"a"], [{1}],
        OrderedDict(a=1), defaultdict(int), Counter("a"), [NAMES["Side"].BUY],
    ],
    ids=repr,
)  # fmt: skip
def test_what_the_encoder_would_write_as_something_else_is_not_plain(value):
    assert not is_plain(value)
    assert is_plain([None, True, 1.5, "a", 2**63 - 1, -(2**63), {"a": [{"b": {}}]}])


def test_a_glance_at_what_contains_itself_ends():
    around: list[Any] = []
    around += [around] * 10
    nested: dict[str, Any] = {}
    nested["a"] = nested
    for value in (around, nested):
        assert not is_plain(value)
        with pytest.raises(InvalidValue):
            encode(value, HOSTS)


@pytest.mark.parametrize("text", ['{"a":1} ', " 1", "\n[1,2]\t", '"a" '])
def test_space_around_a_text_is_not_looked_at(text):
    assert decode(text, HOSTS) == json.loads(text)
    assert not is_canonical(text)


@pytest.mark.parametrize("text", ["", " ", "1 2", "{}x", "[1", "nul", "NaN", "[Infinity]"])
def test_what_is_more_or_less_than_one_value_is_corrupt(text):
    with pytest.raises(Corrupt):
        decode(text, HOSTS)


@pytest.mark.requirement("Z-4")
@settings(max_examples=200, deadline=None)
@given(values)
def test_a_text_is_kept_whole_without_its_classes(value):
    text = encode(value, HOSTS)
    assert encode(decode(text, Hosts(), strict_types=False), Hosts()) == text


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8")) | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_arbitrary_text_is_read_or_refused_as_corrupt(text):
    try:
        decode(text, HOSTS)
    except (Corrupt, InvalidValue):
        assert not is_canonical(text)


def _tagged(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    tags = st.sampled_from([*sorted(HOSTS.reader._tags), "$$", "$x", "a"])
    names = st.sampled_from(["Order", "Position", "Side", "Allowed", "X", "float", "BUY"])
    pairs = st.tuples(names | inner, inner).map(list)
    return st.lists(inner, max_size=3) | st.dictionaries(tags, inner | pairs, max_size=2)


@pytest.mark.requirement("Z-4")
@settings(max_examples=500, deadline=None)
@given(
    st.recursive(st.none() | st.integers(-9, 9) | st.sampled_from(["", "1", "BUY", "a"]), _tagged)
)
def test_tags_around_anything_are_read_or_refused_by_a_typed_error(raw):
    text = json.dumps(raw, separators=(",", ":"))
    for strict in (True, False):
        with contextlib.suppress(Corrupt, InvalidValue):
            decode(text, HOSTS, strict_types=strict)


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.requirement("X-3")
@settings(max_examples=500, deadline=None)
@given(floats)
def test_every_bit_of_a_float_is_kept(value):
    back = decode(encode([value], HOSTS), HOSTS)[0]
    assert struct.pack(">d", back) == struct.pack(">d", value)


@pytest.mark.requirement("X-3")
@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**30])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda n: n, ""),
        (lambda n: [1, n], "[1]"),
        (lambda n: [1, "a", n], "[2]"),
        (lambda n: {"a": 1.0, "n": n}, "n"),
        (lambda n: {"a": {"A": (n,)}}, "a['A'][0]"),
        (lambda n: {n}, "[*]"),
    ],
)
def test_an_integer_beyond_64_bits_is_refused_wherever_it_is(number, wrap, path):
    error = refusal(wrap(number))
    assert (error.field or "") == path
    assert "64 bits" in str(error)
    assert error.value == number


@pytest.mark.parametrize("number", [True, 1, 1.0, Decimal(1), Decimal("1.0")])
def test_numbers_that_are_equal_keep_their_types(number):
    assert exactly(decode(encode({"n": number}, HOSTS), HOSTS), {"n": number})


@pytest.mark.requirement("X-3")
def test_a_decimal_does_not_depend_on_the_decimal_context():
    number = Decimal("1.2345678901234567890E+30")
    text = encode(number, HOSTS)
    with decimal.localcontext() as context:
        context.prec, context.capitals = 3, 0
        assert encode(number, HOSTS) == text
        assert exactly(decode(text, HOSTS), number)
        context.traps[decimal.InvalidOperation] = False
        with pytest.raises(Corrupt):
            decode('{"$decimal":"abc"}', HOSTS)


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (np.float64(1.5), ".item()"),
        (np.int64(1), ".item()"),
        (np.bool_(True), ".item()"),
        (np.array([1.0]), ".tolist()"),
        (pd.Timestamp("2025-01-17", tz="UTC"), "hosts.register with hooks"),
        (Text("a"), "str(value)"),
        (Counter("ab"), "dict(value)"),
        (Pair("a", "b"), "types=[Pair]"),
        (bytearray(b"a"), "bytes(value)"),
        (1j, "hosts.register with hooks"),
        (object(), "hosts.register with hooks"),
        (range(3), "hosts.register with hooks"),
        (len, "hosts.register with hooks"),
        (enum.IntEnum("Level", "LOW")(1), "types=[Level]"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_come_back_as_another_type_is_refused_with_what_to_do(value, remedy):
    error = refusal({"x": [value]})
    assert error.field == "x[0]"
    assert remedy in str(error)


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.requirement("X-3")
@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "a\udfff€"])
def test_text_that_not_every_engine_holds_is_refused_wherever_it_is(text):
    assert refusal(text).field is None
    assert refusal({"a": ["b", text]}).field == "a[1]"
    assert refusal({"a": {"b": {text: 1}}}).field == "a.b"
    assert refusal({"a": {"b", text}}).field == "a[*]"
    assert refusal({"a": OrderedDict({text: 1})}).field == "a"
    assert refusal({"a": NAMES["Position"]("BTC", _note=text)}).field == "a._note"
    assert refusal({"nan": math.nan, "a": text}).field == "a"


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "u0000", "\x01", "\x7f", "\uffff", "😀"])
def test_text_that_only_looks_like_it_is_kept(text):
    assert decode(encode([text], HOSTS), HOSTS) == [text]


# --- instants -------------------------------------------------------------------------------------


@pytest.mark.requirement("X-2", "X-3")
def test_a_naive_datetime_is_refused_with_the_fix_in_words():
    error = refusal({"orders": {"BTC": {"at": datetime(2025, 1, 17)}}}, path="positions")  # noqa: DTZ001
    assert error.field == "positions.orders['BTC'].at"
    assert "naive" in str(error)
    assert ".replace(tzinfo=timezone.utc)" in str(error)
    assert ".astimezone()" in str(error)


@pytest.mark.requirement("X-2")
@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.timezones())  # noqa: DTZ001
)
def test_an_instant_of_any_zone_comes_back_in_utc(instant):
    back = decode(encode(instant, HOSTS), HOSTS)
    assert back.tzinfo is UTC
    assert back == instant.astimezone(UTC)


@pytest.mark.requirement("X-2")
def test_the_hour_that_comes_twice_is_two_instants():
    first = datetime(2025, 11, 2, 1, 30, tzinfo=ZoneInfo("America/New_York"))
    assert encode(first, HOSTS) != encode(first.replace(fold=1), HOSTS)


def test_an_instant_that_utc_cannot_hold_is_refused():
    instant = datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))
    assert "year" in str(refusal({"a": instant}))
    assert refusal({"a": time(9, tzinfo=ZoneInfo("Asia/Seoul"))}).field == "a"


def test_a_date_and_an_instant_do_not_turn_into_each_other():
    days = [date(2025, 1, 17), datetime(2025, 1, 17, tzinfo=UTC)]
    assert exactly(decode(encode(days, HOSTS), HOSTS), days)


# --- containers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [1, 1.0, None, True, ("a",), Text("a"), b"a"])
def test_a_key_that_is_no_text_is_refused(key):
    for mapping in ({"z": 1, key: 2}, OrderedDict({key: 2}), defaultdict(int, {key: 2})):
        error = refusal({"x": mapping})
        assert error.field == "x"
        assert repr(key) in str(error)


@pytest.mark.requirement("X-3")
def test_absent_none_and_empty_are_three_things():
    assert len({encode(value, HOSTS) for value in ({}, {"a": None}, {"a": {}}, {"a": []})}) == 4


def test_the_order_in_which_a_dict_was_filled_does_not_show():
    assert encode({"b": {"d": 1, "c": 2}, "a": 3}, HOSTS) == encode(
        {"a": 3, "b": {"c": 2, "d": 1}}, HOSTS
    )


def test_the_order_in_which_a_set_was_filled_does_not_show():
    names = [f"n{i}" for i in range(50)]
    backwards = names[::-1]
    assert encode(set(names), HOSTS) == encode(set(backwards), HOSTS)


def test_a_container_that_holds_itself_is_refused_where_it_does():
    positions: dict[str, Any] = {"BTC": {"legs": []}}
    positions["BTC"]["legs"].append(positions["BTC"])
    error = refusal({"positions": positions})
    assert "cycle" in str(error)
    assert error.field == "positions['BTC'].legs[0]"


def test_an_object_that_holds_itself_is_refused():
    position = NAMES["Position"]("BTC")
    position.entry = {"of": [position]}
    error = refusal({"a": position})
    assert "cycle" in str(error)
    assert error.field == "a.entry.of[0]"


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_nesting_ends_at_its_limit():
    deepest = _nested(MAX_DEPTH)
    assert decode(encode(deepest, HOSTS), HOSTS) == deepest
    error = refusal({"a": deepest})
    assert "200" in str(error)
    assert str(error.field).startswith("a[0][0]")
    assert len(str(error)) < 200


def test_what_fits_with_its_classes_fits_without_them():
    value: Any = _nested(MAX_DEPTH - 3)
    text = encode(NAMES["Position"](value), HOSTS)
    assert is_canonical(text)
    refusal(NAMES["Position"]([value]))


def test_a_caller_near_the_end_of_the_stack_gets_a_typed_error():
    def deep(levels: int) -> str:
        return deep(levels - 1) if levels else encode(_nested(190), HOSTS)

    frame, used = sys._getframe(), 0
    while frame := frame.f_back:
        used += 1
    with pytest.raises(InvalidValue, match="stack"):
        deep(sys.getrecursionlimit() - used - 60)


def test_an_object_in_two_places_is_no_cycle():
    shared = {"a": [1]}
    assert decode(encode([shared, shared], HOSTS), HOSTS) == [shared, shared]


def test_a_document_over_the_limit_is_refused_by_its_bytes():
    assert encode("é" * 4, HOSTS, limit=10) == '"éééé"'
    with pytest.raises(
        TooLarge, match=r"state.config: a document of 12 bytes; expected at most 10"
    ):
        encode("é" * 5, HOSTS, path="state.config", limit=10)
    with pytest.raises(TooLarge, match="16,777,216"):
        encode(["x" * documents.MAX_BYTES], HOSTS)


class Tracked(Mapping[str, Any]):
    """A mapping of another type, such as the one that tracks changes."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def __getitem__(self, key: str) -> Any:
        return self.plain[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain)

    def __len__(self) -> int:
        return len(self.plain)

    def __quantkeep_plain__(self) -> Any:
        return self.plain


@pytest.mark.requirement("Z-47")
def test_a_mapping_that_says_what_it_stands_for_is_stored_as_that():
    plain = {"BTC": {"size": 1.5, "$x": Tracked({})}, "at": date(2025, 1, 17)}
    text = encode({"positions": Tracked(plain)}, HOSTS)
    assert text == '{"positions":{"BTC":{"$$x":{},"size":1.5},"at":{"$date":"2025-01-17"}}}'
    assert refusal({"a": Tracked({"b": object()})}).field == "a.b"
    assert refusal({"a": Tracked("text")}).field == "a"


def test_a_dict_that_changes_meanwhile_gives_a_typed_error():
    class Meddler(Tracked):
        def __quantkeep_plain__(self) -> Any:
            state["new"] = 1
            return {}

    state: dict[str, Any] = {"a": Meddler({})}
    error = refusal(state, path="state")
    assert error.field == "state"
    assert "another thread" in str(error)


# --- texts that nobody wrote ----------------------------------------------------------------------


@pytest.mark.requirement("Z-4")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{}{}",
        "nul",
        "\ufeff{}",
        "NaN",
        "[Infinity]",
        '{"a":1',
        "[" * 100_000,
        "9" * 5000,
        '{"$unknown":1}',
        '{"$":1}',
        '{"$decimal":"1","b":2}',
        '{"b":2,"$decimal":"1"}',
        '{"\\u0024decimal":"x"}',
        '{"$decimal":1}',
        '{"$decimal":"1_0"}',
        '{"$decimal":" 1"}',
        '{"$decimal":"1e3"}',
        '{"$decimal":{"$decimal":"1"}}',
        '{"$float":"1.0"}',
        '{"$float":1}',
        '{"$uuid":1}',
        '{"$date":null}',
        '{"$bytes":["a"]}',
        '{"$timedelta":"1"}',
        '{"$float":"Infinity"}',
        '{"$float":"nan:7ff8000000000000"}',
        '{"$float":"nan:7FF8000000000001"}',
        '{"$float":"nan:3ff0000000000000"}',
        '{"$float":"nan:-1"}',
        '{"$float":"nan:1ffffffffffffffff"}',
        '{"$datetime":"2025-01-17T09:30:00Z"}',
        '{"$datetime":"2025-01-17T09:30:00.000000+00:00"}',
        '{"$datetime":"2025-01-17T09:30:00.000000"}',
        '{"$datetime":"2025-02-30T09:30:00.000000Z"}',
        '{"$date":"20250117"}',
        '{"$time":"9:30"}',
        '{"$timedelta":[0,86400,0]}',
        '{"$timedelta":[0,0]}',
        '{"$timedelta":[1e300,0,0]}',
        '{"$uuid":"9E107D9D-372B-4C81-A2E2-5F0C9F1D6B3A"}',
        '{"$bytes":"APv"}',
        '{"$bytes":"AP v/"}',
        '{"$bytes":"AB=="}',
        '{"$tuple":{"$tuple":[]}}',
        '{"$set":[1,1]}',
        '{"$set":[[]]}',
        '{"$frozenset":null}',
        '{"$deque":[1,[1,2]]}',
        '{"$deque":[[1]]}',
        '{"$deque":[-1,[]]}',
        '{"$ordereddict":{"a":1}}',
        '{"$ordereddict":[["a",1],["a",2]]}',
        '{"$ordereddict":[[1,1]]}',
        '{"$defaultdict":["open",{}]}',
        '{"$defaultdict":["float",[]]}',
        '{"$defaultdict":[["float"],{}]}',
        '{"$enum":["Side"]}',
        '{"$enum":{"Side":"BUY"}}',
        '{"$host":[1,{}]}',
        '{"$host":"ab"}',
        '{"$host":["Order",{},1]}',
    ],
    ids=lambda text: text[:40],
)
def test_a_text_that_nobody_wrote_is_corrupt(text):
    with pytest.raises(Corrupt):
        decode(text, HOSTS)
    with pytest.raises(Corrupt):
        decode(text, HOSTS, strict_types=False)
    assert not is_canonical(text)


@pytest.mark.requirement("Z-4")
@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '{"b":1,"a":2}',
        '{"a":1,"a":1}',
        "[1] ",
        "1E5",
        "1.50",
        "1e5",
        "-0",
        "1e400",
        str(2**63),
        '"\\u00e9"',
        '"\\/"',
        '"\\u001F"',
        '"\\ud800"',
        '"\\u0000"',
        '{"$set":[2,1]}',
        '{"\\u0024decimal":"1"}',
        '{"$tuple":[{"b":1,"a":2}]}',
    ],
)
def test_another_spelling_is_read_but_not_canonical(text):
    decode(text, HOSTS)
    assert not is_canonical(text)


def test_a_text_edited_by_hand_can_be_normalised():
    edited = '{\n  "b": [1, 2.50],\n  "a": {"$host": ["X", {"q": 1, "p": "\\u00e9"}]}\n}'
    assert normalise(edited) == '{"a":{"$host":["X",{"p":"é","q":1}]},"b":[1,2.5]}'
    with pytest.raises(InvalidValue, match="64 bits"):
        normalise(f'{{"a": {2**63}}}')


# --- size -----------------------------------------------------------------------------------------


def test_a_large_plain_document_goes_to_the_encoder_untouched():
    order = {"id": "a", "price": 1.5, "quantity": 2, "status": None, "filled": False}
    state = {f"S{place}": {"symbol": "BTC", "order": dict(order)} for place in range(1000)}
    assert HOSTS.writer.any(state) is state


@dataclass
class Unregistered:
    UUID: UUID


def test_an_unregistered_object_is_refused_and_named():
    error = refusal({"a": {"B-1": [Unregistered(UUID(int=1))]}})
    assert error.field == "a['B-1'][0]"
    assert "Unregistered (" in str(error)
    assert "types=[Unregistered]" in str(error)
