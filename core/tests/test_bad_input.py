"""What cannot be kept is refused by name, with what to do, and not a byte of it is written."""

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest

import quantkeep
from quantkeep import Keep, Record, field, record
from quantkeep.batch import ABSENT, PRESENT, AtRevision, Write
from quantkeep.errors import (
    AlreadyExists,
    Conflict,
    Invalid,
    InvalidQuery,
    InvalidRecord,
    InvalidValue,
    NotFound,
    QuantkeepError,
    TooLarge,
)
from quantkeep.tape import Trade

NOON = datetime(2025, 1, 17, 12, tzinfo=UTC)
NAIVE = NOON.replace(tzinfo=None)
SCHEMES = ("memory", "sqlite", "json")
HUGE = "x" * 50_000_000


@record("samples", key=("name",), unique=[("tag", "rank")])
class Sample(Record):
    """A field of every kind that refuses something."""

    name: str
    tag: str | None = None
    rank: int | None = None
    text: str | None = None
    price: Decimal | None = field(default=None, precision=(10, 4))
    ratio: float | None = field(default=None, finite=True)
    share: float | None = field(default=None, between=(0, 1))
    kind: Literal["plain", "loud"] = "plain"
    at: datetime | None = None
    day: date | None = None
    ident: UUID | None = None
    flag: bool | None = None
    raw: bytes | None = None
    doc: Any = None


@record("levels", log=True, stream=("tick",), identity=("price",))
class Level(Record):
    """Known by numbers."""

    tick: float
    price: float | None = None


def trade(**fields: Any) -> Trade:
    given: dict[str, Any] = {
        "mode": "paper",
        "timestamp": NOON,
        "symbol": "BTC/USDT",
        "side": "LONG",
        "action": "OPEN",
        "qty": 1.0,
    }
    return Trade(**{**given, **fields})


def opened(scheme: str, folder: Path) -> Keep:
    """A keep in *folder* with one sample and one trade."""
    places = {"memory": "memory://", "sqlite": f"sqlite:///{folder}/bot.db"}
    keep = quantkeep.open(places.get(scheme, f"json:///{folder}/bot"), records=[Sample, Level])
    keep.commit(keep.table(Sample).put(Sample(name="first", tag="t")))
    keep.tape.append(trade(uid="fill-1"))
    return keep


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("refusing")


@pytest.fixture(scope="module", params=SCHEMES)
def keep(request: pytest.FixtureRequest, folder: Path) -> Iterator[Keep]:
    """One for all tests of the module: what is refused leaves no trace in it."""
    with opened(request.param, folder) as keep:
        yield keep


@pytest.fixture(params=SCHEMES)
def own_keep(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keep]:
    """One for a test that writes."""
    folder = tmp_path / "keep"
    folder.mkdir()
    with opened(request.param, folder) as keep:
        yield keep


def contents(keep: Keep, folder: Path) -> tuple[object, ...]:
    """Everything there is: counts, records, and the bytes of the files."""
    sizes = {name: count for name, count in keep.sizes().items() if name != "bytes"}
    rows = [*keep.table(Sample).list(), *keep.tape.table(Trade).list()]
    files = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "lock"))
    }
    return sizes, rows, files


@pytest.fixture
def refused(keep: Keep, folder: Path) -> Callable:
    """Within it something is refused, with this error, and nothing is written."""

    @contextmanager
    def refusing(error: type[QuantkeepError], *said: str) -> Iterator[pytest.ExceptionInfo]:
        before = contents(keep, folder)
        with pytest.raises(error) as caught:
            yield caught
        assert type(caught.value) is error
        assert caught.value.applied == "no"
        assert not caught.value.retryable
        for words in said:
            assert words in str(caught.value)
        assert len(str(caught.value)) < 1_000
        assert contents(keep, folder) == before

    return refusing


VALUES: list[tuple[str, dict[str, Any], str, str]] = [
    ("naive", {"at": NAIVE}, "at", "give it a zone, .replace(tzinfo=UTC)"),
    ("text for a time", {"at": "2025-01-17"}, "at", "expected an aware datetime"),
    ("time for a day", {"day": NOON}, "day", "expected a date"),
    ("NUL", {"text": "a\0b"}, "text", "expected text without \\x00"),
    ("NUL in a key", {"name": "a\0b"}, "name", "expected text without \\x00"),
    ("NUL in a document", {"doc": {"a": ["x\0"]}}, "doc.a[0]", "expected other text, or bytes"),
    ("surrogate", {"text": "\ud800"}, "text", "expected text that UTF-8 can encode"),
    ("surrogate in a document", {"doc": {"\ud800": 1}}, "doc", "expected other keys"),
    ("2**63", {"rank": 2**63}, "rank", "9223372036854775808 (int); expected an integer within"),
    ("-2**63 - 1", {"rank": -(2**63) - 1}, "rank", "expected an integer within 64 bits"),
    ("2**20000", {"rank": 2**20_000}, "rank", "an integer of 20,001 bits; expected an integer"),
    ("2**63 in a document", {"doc": {"n": 2**63}}, "doc.n", "expected -2**63 to 2**63 - 1"),
    ("bool for int", {"rank": True}, "rank", "True (bool); expected an integer"),
    ("float for int", {"rank": 1.0}, "rank", "1.0 (float); expected an integer"),
    ("int beyond floats", {"ratio": 10**400}, "ratio", "expected a float"),
    ("int between floats", {"ratio": 2**53 + 1}, "ratio", "expected a float"),
    ("fine decimal", {"price": Decimal("1.00001")}, "price", "Decimal('1.00001')"),
    ("great decimal", {"price": Decimal(1234567)}, "price", "at most 6 digits before and 4 after"),
    ("NaN decimal", {"price": Decimal("NaN")}, "price", "expected a finite Decimal"),
    ("sNaN decimal", {"price": Decimal("sNaN")}, "price", "expected a finite Decimal"),
    ("infinite decimal", {"price": Decimal("-Infinity")}, "price", "expected a finite Decimal"),
    ("a gigabyte of zeros", {"price": Decimal("1E+999999999")}, "price", "at most 6 digits"),
    ("a gigabyte of digits", {"price": Decimal("1E-999999999")}, "price", "at most 6 digits"),
    ("float for decimal", {"price": 1.5}, "price", "1.5 (float); expected a finite Decimal"),
    ("NaN", {"ratio": math.nan}, "ratio", "nan (float); expected a finite float"),
    ("infinity", {"ratio": math.inf}, "ratio", "inf (float); expected a finite float"),
    ("out of bounds", {"share": 1.01}, "share", "expected a float from 0 to 1"),
    ("NaN between bounds", {"share": math.nan}, "share", "expected a float from 0 to 1"),
    ("unknown choice", {"kind": "shrill"}, "kind", "'shrill' (str); expected one of 'plain', 'l"),
    ("no choice", {"kind": None}, "kind", "is required; expected one of 'plain', 'loud'"),
    ("no key", {"name": None}, "name", "is required; expected text"),
    ("number for a key", {"name": 1}, "name", "1 (int); expected text"),
    ("text for a uuid", {"ident": "x"}, "ident", "'x' (str); expected a UUID"),
    ("number for a flag", {"flag": 1}, "flag", "expected True or False"),
    ("text for bytes", {"raw": "x"}, "raw", "expected bytes"),
    ("object", {"doc": {"a": [object()]}}, "doc.a[0]", "type object cannot be kept as it is"),
    ("number for a name", {"doc": {1: 2}}, "doc", "the key 1 is of type int; expected keys"),
]


@pytest.mark.requirement("X-1", "X-2", "X-5", "Z-20", api="quantkeep.InvalidValue")
@pytest.mark.parametrize(
    ("fields", "name", "said"), [case[1:] for case in VALUES], ids=[case[0] for case in VALUES]
)
def test_a_value_that_does_not_fit_is_named(
    keep: Keep, refused: Callable, fields: dict[str, Any], name: str, said: str
) -> None:
    good = keep.table(Sample).put(Sample(name="good"))
    with refused(InvalidValue, f"Sample.{name}", said) as caught:
        bad = Sample(**{"name": "bad", **fields})
        keep.commit(good, keep.table(Sample).put(bad))
    assert (caught.value.record, caught.value.field) == ("Sample", name)
    if "." not in name:
        given = fields.get(name)
        assert caught.value.value is given or name == "doc"


def test_the_same_values_are_refused_however_often_they_come(keep: Keep, refused: Callable) -> None:
    """Code is written for a pattern of types once it is met again; it must refuse as well."""
    table = keep.table(Sample)
    for _ in range(3):
        table.seal(Sample(name="x", text="y", rank=1, price=Decimal(1), ratio=1.0, at=NOON))
        for bad in (
            {"rank": 2**63},
            {"text": "\0"},
            {"price": Decimal("1E+9")},
            {"ratio": math.nan},
        ):
            good = {"name": "x", "text": "y", "rank": 1, "price": Decimal(1), "ratio": 1.0}
            with refused(InvalidValue, f"Sample.{next(iter(bad))}"):
                keep.commit(table.put(Sample(**{**good, "at": NOON, **bad})))


@pytest.mark.requirement("Z-20", api="quantkeep.Record")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sample(tag="x"), "Sample.name: is required"),
        (lambda: Trade(mode="paper"), "Trade.timestamp: is required"),
        (lambda: trade(symbol=None), "Trade.symbol: is required; expected text"),
    ],
    ids=["key", "field", "None"],
)
def test_a_field_that_is_missing_is_named(
    keep: Keep, refused: Callable, make: Callable[[], Any], said: str
) -> None:
    with refused(InvalidValue, said):
        keep.tape.append(trade(uid="fill-2"), make())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"doc": {"x": HUGE}}, "Sample.doc: a document of 50,000,008 bytes"),
        ({"doc": [HUGE[:1000]] * 50_000}, "Sample.doc: a document of 50,150,001 bytes"),
        ({"text": HUGE}, "Sample.text: a value of 50,000,000 bytes"),
        ({"raw": HUGE.encode()}, "Sample.raw: a value of 50,000,000 bytes"),
        ({"tag": "é" * 300}, "Sample.tag: is a key of 600 bytes; expected at most 512"),
        ({"name": HUGE}, "expected at most"),
    ],
    ids=["document", "list", "text", "bytes", "indexed", "key"],
)
def test_what_is_too_large_for_some_engine_is_refused_on_all(
    keep: Keep, refused: Callable, fields: dict[str, Any], said: str
) -> None:
    with refused(TooLarge, said):
        keep.commit(keep.table(Sample).put(Sample(**{"name": "large", **fields})))


def test_a_session_whose_state_is_too_large_for_one_value_is_not_started(
    keep: Keep, refused: Callable
) -> None:
    with refused(TooLarge, "SessionRecord.config: a document of 50,000,008 bytes"):
        keep.sessions.start("bot", config={"x": HUGE})


@pytest.mark.requirement("Z-32", api="quantkeep.record(unique=...)")
def test_a_null_in_a_unique_group_counts_as_a_value(own_keep: Keep) -> None:
    keep, table = own_keep, own_keep.table(Sample)
    with pytest.raises(AlreadyExists, match=r"samples: \(tag, rank\) = \('t', None\) is stored"):
        keep.commit(table.put(Sample(name="second", tag="t")))
    keep.commit(table.put(Sample(name="second", tag="t", rank=0)))
    keep.commit(table.put(Sample(name="first", tag="t", rank=1)))
    keep.commit(table.put(Sample(name="third", tag="t")))


TAKEN: list[tuple[str, type[QuantkeepError], str, Callable[[Keep], list[Write]]]] = [
    (
        "key",
        AlreadyExists,
        "samples 'first' is stored already: read it, or take another key",
        lambda keep: [keep.table(Sample).put(Sample(name="first"), ABSENT)],
    ),
    (
        "key twice",
        AlreadyExists,
        "samples 'x' is stored already",
        lambda keep: [keep.table(Sample).put(Sample(name="x", tag="x"), ABSENT)] * 2,
    ),
    (
        "unique twice",
        AlreadyExists,
        "samples: (tag, rank) = ('q', 1)",
        lambda keep: [keep.table(Sample).put(Sample(name=n, tag="q", rank=1)) for n in "ab"],
    ),
    (
        "uid",
        AlreadyExists,
        "trades: (account, mode, uid) = ('default', 'paper', 'fill-1') is stored already",
        lambda keep: [keep.tape.table(Trade).append([trade(uid="fill-1", qty=2.0)])],
    ),
    (
        "uid twice",
        AlreadyExists,
        "trades: (account, mode, uid) = ('default', 'paper', 'new') is stored already",
        lambda keep: [keep.tape.table(Trade).append([trade(uid="new", qty=q) for q in (1.0, 2.0)])],
    ),
    (
        "revision",
        Conflict,
        "samples 'first' was expected at revision 9; it is at revision 1: read it again",
        lambda keep: [keep.table(Sample).put(Sample(name="first"), AtRevision(9))],
    ),
    (
        "nothing",
        NotFound,
        "samples 'gone' is not stored: store it first",
        lambda keep: [keep.table(Sample).put(Sample(name="gone"), PRESENT)],
    ),
]


@pytest.mark.requirement("Z-31", "Z-45", api="Keep.commit")
@pytest.mark.parametrize(
    ("error", "said", "writes"), [case[1:] for case in TAKEN], ids=[case[0] for case in TAKEN]
)
def test_a_key_that_is_taken_refuses_the_whole_commit(
    keep: Keep,
    refused: Callable,
    error: type[QuantkeepError],
    said: str,
    writes: Callable[[Keep], list[Write]],
) -> None:
    good = keep.table(Sample).put(Sample(name="good"))
    with refused(error, said) as caught:
        keep.commit(good, *writes(keep), op_id="commit-1")
    assert caught.value.op_id == "commit-1"
    assert keep.resolve("commit-1") is None


IDS = [
    "../../x", "/etc/passwd", "..", ".", "~", "a/b\\c", "CON", "a:b|c?*", "a'; DROP TABLE x;--",
    'q"uo"te', "`x`", "a%00b", "a\nb\tc", " ", "$x", "{x}", "%s", "quantkeep_meta", "𝒳é", "--help",
]  # fmt: skip


@pytest.mark.requirement("Z-44", api="quantkeep.open")
def test_ids_are_data_never_paths_or_statements(
    own_keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = own_keep
    workplace = tmp_path / "workplace"
    workplace.mkdir()
    monkeypatch.chdir(workplace)
    for name in IDS:
        keep.commit(keep.table(Sample).put(Sample(name=name, tag=name)), op_id=name)
        keep.tape.append(trade(uid=name, symbol=name, account=name))
        keep.sessions.bot_state.save(name, name, account=name)
        with keep.sessions.start(name, session_id=f"{name}!", account=name) as session:
            session["state"] = {name: name}
    assert {sample.name for sample in keep.table(Sample).list()} == {"first", *IDS}
    for name in IDS:
        assert keep.table(Sample).fetch(name).tag == name
        assert keep.resolve(name) is not None
        assert [t.uid for t in keep.tape.trades(symbol=name, account=name)] == [name]
        assert keep.sessions.bot_state.load(name, account=name) == name
        with keep.sessions.resume(name) as session:
            assert session.session_id == f"{name}!"
            assert session["state"].plain() == {name: name}
    assert not [*workplace.iterdir()]
    assert {p.name for p in tmp_path.iterdir()} == {"keep", "workplace"}
    inside = {p.name.partition("-")[0] for p in (tmp_path / "keep").iterdir()}
    assert inside <= {"bot", "bot.db"}


ASKED: list[tuple[str, type[QuantkeepError], str, Callable[[Keep], object]]] = [
    ("mode", InvalidValue, "'Paper' (str); expected one of 'paper', 'live'",
     lambda keep: keep.tape.trades(mode="Paper")),
    ("positions' mode", InvalidValue, "expected one of 'paper', 'live'",
     lambda keep: keep.sessions.positions.all(mode="Live")),
    ("watermarks' mode", InvalidValue, "expected one of 'paper', 'live'",
     lambda keep: keep.tape.watermarks(mode="Live")),
    ("pruned mode", InvalidValue, "expected one of 'paper', 'live'",
     lambda keep: keep.tape.prune(NOON, mode="Live")),
    ("started mode", InvalidValue, "SessionRecord.mode: cannot hold 'Live' (str); expected one of",
     lambda keep: keep.sessions.start("bot", mode="Live")),
    ("limit", InvalidQuery, "limit -1", lambda keep: keep.tape.trades(limit=-1)),
    ("naive since", InvalidValue, "expected an aware datetime",
     lambda keep: keep.tape.trades(since=NAIVE)),
    ("parts of a key", InvalidValue, "expected (name)",
     lambda keep: keep.table(Sample).get("a", 1)),
    ("NUL in a key", InvalidValue, "samples.name", lambda keep: keep.table(Sample).get("a\0")),
    ("number as a key", InvalidValue, "5 (int)", lambda keep: keep.table(Sample).delete(5)),
    ("empty name", InvalidValue, "expected text of 1 to 200", lambda keep: keep.sessions.start("")),
    ("NUL in a name", InvalidValue, "without \\x00", lambda keep: keep.sessions.start("a\0")),
    ("no record", InvalidRecord, "int is not a Sample", lambda keep: keep.table(Sample).put(5)),
    ("no trade", InvalidRecord, "int is not on the tape", lambda keep: keep.tape.append(5)),
    ("no write", InvalidRecord, "Sample is no write: let its table make one",
     lambda keep: keep.commit(Sample(name="x"))),
    ("list of writes", InvalidRecord, "list is no write", lambda keep: keep.commit([])),
    ("empty op_id", Invalid, "op_id '': expected text", lambda keep: keep.resolve("")),
    ("long op_id", Invalid, "of 1 to 512 bytes", lambda keep: keep.resolve(HUGE)),
    ("number as op_id", Invalid, "op_id 5: expected text", lambda keep: keep.resolve(5)),
    ("NUL in op_id", InvalidValue, "batch.op_id", lambda keep: keep.resolve("a\0")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "said", "ask"), [case[1:] for case in ASKED], ids=[case[0] for case in ASKED]
)
def test_what_cannot_be_asked_for_is_said(
    keep: Keep,
    refused: Callable,
    error: type[QuantkeepError],
    said: str,
    ask: Callable[[Keep], object],
) -> None:
    with refused(error, said):
        ask(keep)


@pytest.mark.requirement("X-4", api="quantkeep.record")
@pytest.mark.parametrize("level", [{"tick": math.nan}, {"tick": 1.0, "price": math.nan}])
def test_nan_identifies_nothing(keep, refused, level):
    table = keep.table(Level)
    with refused(InvalidValue, "cannot hold nan (float); expected a finite float"):
        keep.commit(table.append([Level(**level)]))
    with refused(InvalidValue, "levels.tick"):
        table.get(math.nan, 1)
