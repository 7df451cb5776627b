"""The tables a DBA would find, and what becomes of them when records change."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest

import quantkeep
from quantkeep import Keep, Record, field, schema
from quantkeep.collection import Reference
from quantkeep.errors import AlreadyExists, InvalidRecord, InvalidReference, StillReferenced
from quantkeep.hookspecs import Opening
from quantkeep.url import Url
from quantkeep_backends.sqlite.backend import SqliteBackend
from quantkeep_backends.sqlite.opening import open_backend


@quantkeep.record("desks", key=("name",))
class Desk(Record):
    name: str
    city: str | None = None


@quantkeep.record(
    "fills",
    log=True,
    stream=("mode",),
    identity=("uid",),
    unique=[("ticket", "leg")],
    indexes=[("symbol", "price")],
)
class Fill(Record):
    mode: Literal["paper", "it's"]
    uid: str | None = None
    symbol: str = "BTC"
    price: float = 1.0
    ticket: str = ""
    leg: int | None = None
    closed: bool = False
    created_at: int | None = None
    desk: str | None = field(default=None, references="desks")


def opened(path: Path, *records: type[Record]) -> Keep:
    return quantkeep.open({"tape": f"sqlite:///{path}"}, records=records)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


def backend(path: Path, *records: type[Record]) -> SqliteBackend:
    """A keep of these records alone."""
    made = open_backend(Url.parse(f"sqlite:///{path}"), Opening())
    collections = [record.collection for record in records]
    made.ensure(collections, schema.describe(collections))
    return made


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as stranger:
        return stranger.execute(statement).fetchall()


def sql_of(path: Path, name: str) -> str:
    ((sql,),) = rows(path, f"SELECT sql FROM sqlite_master WHERE name = '{name}'")
    return " ".join(sql.split())


# -- as it is made -------------------------------------------------------------------------------


@pytest.mark.requirement("Z-5", "X-5", "X-6")
def test_the_table_of_a_log(path):
    backend(path, Desk, Fill).close()
    assert sql_of(path, "fills") == (
        "CREATE TABLE fills ( id INTEGER NOT NULL,"
        " mode TEXT NOT NULL CHECK (mode = 'paper' OR mode = 'it''s'), uid TEXT,"
        " symbol TEXT NOT NULL,"
        " price ANY NOT NULL, ticket TEXT NOT NULL, leg INTEGER,"
        " closed INTEGER NOT NULL CHECK (closed IN (0, 1)), created_at_ INTEGER, desk TEXT,"
        " revision INTEGER GENERATED ALWAYS AS (id & 1099511627775) VIRTUAL,"
        " created_at INTEGER NOT NULL, schema_version INTEGER NOT NULL, digest BLOB NOT NULL,"
        " seal INTEGER NOT NULL, PRIMARY KEY (id),"
        " FOREIGN KEY(desk) REFERENCES desks (name) DEFERRABLE INITIALLY DEFERRED ) STRICT"
    )
    indexes = rows(
        path, "SELECT sql FROM sqlite_master WHERE tbl_name = 'fills' AND sql LIKE '%IND%'"
    )
    assert sorted(sql.partition(" ON ")[2] for (sql,) in indexes) == [
        "fills (desk)",
        "fills (mode, uid) WHERE uid IS NOT NULL",
        "fills (symbol, CASE typeof(price) WHEN 'blob' THEN x'ff' ELSE price END)",
        "fills (ticket, coalesce(leg, x'00'))",
    ]
    assert sum(sql.startswith("CREATE UNIQUE INDEX") for (sql,) in indexes) == 2


@pytest.mark.requirement("Z-5")
def test_a_stranger_can_read_it(path):
    with opened(path, Desk, Fill) as keep:
        keep.commit(keep.table(Fill).append([Fill(mode="paper", ticket=t) for t in "ab"]))
    assert rows(path, "SELECT revision, symbol, price, closed FROM fills WHERE mode = 'paper'") == [
        (1, "BTC", 1.0, 0),
        (2, "BTC", 1.0, 0),
    ]
    assert rows(path, "PRAGMA application_id") == [(0x514B4550,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_stranger_is_held_to_the_enumerations(path):
    backend(path, Desk, Fill).close()
    values = "'x', 'a', 1, '', 0, 1, 1, x'', 1"
    columns = "mode, symbol, price, ticket, closed, created_at, schema_version, digest, seal"
    with closing(sqlite3.connect(path)) as stranger, pytest.raises(sqlite3.IntegrityError):
        stranger.execute(f"INSERT INTO fills ({columns}) VALUES ({values})")


def test_columns_with_names_of_the_stores_own(path):
    @quantkeep.record("odd", key=("id",), unique=[("seal", "digest")], indexes=[("Revision_",)])
    class Odd(Record):
        id: str
        seal: int | None = None
        digest: str | None = None
        Revision_: int | None = None
        revision: int | None = None
        created_at: int | None = None
        rowid: int | None = None
        select: str = "order"

    with opened(path, Odd) as keep:
        table = keep.table(Odd)
        made = [Odd(id=str(n), seal=n, Revision_=-n, rowid=7, created_at=n) for n in range(3)]
        keep.commit(*map(table.put, made))
        assert table.list(quantkeep.Where("Revision_", "<", 0)) == made[1:]
        assert table.list(quantkeep.Where("rowid", "==", 7), order=("-created_at",)) == made[::-1]
        with pytest.raises(AlreadyExists):
            keep.commit(table.put(Odd(id="9", seal=1)))
        assert keep.backend.check() == []


@pytest.mark.parametrize(
    ("one", "other"), [("Desks", "desks"), ("sqlite_x", "y"), ("x", "SQLITE_y")]
)
def test_names_that_sqlite_cannot_tell_apart_or_keeps_for_itself(path, one, other):
    def made(name: str) -> type[Record]:
        @quantkeep.record(name, key=("key",))
        class Made(Record):
            key: str

        return Made

    with pytest.raises(InvalidRecord, match="SQLite"):
        opened(path, made(one), made(other))
    opened(path, Desk).close()


@pytest.mark.requirement("X-6", "Z-66")
def test_an_entry_of_a_log_can_be_referred_to(path):
    @quantkeep.record("reviews", key=("name",), references=[Reference(("mode", "entry"), "fills")])
    class Review(Record):
        name: str
        mode: str | None = None
        entry: int | None = None

    with opened(path, Desk, Fill, Review) as keep:
        fills, reviews = keep.table(Fill), keep.table(Review)
        keep.commit(
            reviews.put(Review(name="a", mode="paper", entry=1)),
            fills.append([Fill(mode="paper")]),
        )
        with pytest.raises(InvalidReference, match=r"fills \('paper', 2\)"):
            keep.commit(reviews.put(Review(name="b", mode="paper", entry=2)))
        keep.commit(reviews.put(Review(name="b", mode="paper")))
        with pytest.raises(StillReferenced):
            keep.commit(fills.delete("paper", 1))


def test_a_reference_into_another_keep_is_refused(path):
    with pytest.raises(InvalidRecord, match="refers to 'desks', which is not in this keep"):
        backend(path, Fill)


# -- as records change ---------------------------------------------------------------------------


def migrations(path: Path, collection: str) -> list[str]:
    return [
        change
        for (change,) in rows(
            path,
            f"SELECT change FROM quantkeep_migrations WHERE collection = '{collection}' "
            "ORDER BY number",
        )
    ]


@pytest.mark.requirement("Z-3", "CODEX-5", "KB-33")
def test_columns_and_indexes_are_added_to_what_is_there(path):
    with opened(path, Desk, Fill) as keep:
        keep.commit(keep.table(Fill).append([Fill(mode="paper")]))

    @quantkeep.record()
    class Wider(Fill):
        venue: Literal["x", "y"] | None = field(default=None, index=True)
        fee: float | None = None

    with opened(path, Desk, Wider) as keep:
        table = keep.table(Wider)
        keep.commit(table.append([Wider(mode="paper", ticket="b", venue="x", fee=-0.0)]))
        assert [f.venue for f in table.scan()] == [None, "x"]
        assert keep.backend.check() == []
    with opened(path, Desk, Fill) as keep:  # the narrower program goes on beside it
        keep.commit(keep.table(Fill).append([Fill(mode="paper", ticket="c")]))
        assert keep.table(Fill).count() == 3
    changes = migrations(path, "fills")
    assert changes[0] == "table made"
    assert changes[-3:-1] == ["column venue added", "column fee added"]
    assert changes[-1].startswith("index ix_fills_venue")
    ((applied, statement),) = rows(
        path,
        "SELECT applied_at, statement FROM quantkeep_migrations WHERE change LIKE '%fee added'",
    )
    assert applied > 1_700_000_000_000_000
    assert statement == 'ALTER TABLE "fills" ADD COLUMN fee ANY'


@pytest.mark.requirement("Z-3")
def test_nothing_is_done_twice(path):
    opened(path, Desk, Fill).close()
    before = rows(path, "SELECT * FROM quantkeep_migrations")
    opened(path, Desk, Fill).close()
    made = backend(path, Desk, Fill)
    made.ensure([Desk.collection], schema.describe([Desk.collection]))
    made.close()
    assert rows(path, "SELECT * FROM quantkeep_migrations") == before


def older(path: Path) -> None:
    """A keep of desks that had no references, fewer nulls and other constraints."""

    @quantkeep.record("towns", key=("town",))
    class Town(Record):
        town: str

    @quantkeep.record("desks", key=("name",), unique=[("floor",)])
    class Before(Record):
        name: str
        city: str = "here"
        floor: int | None = None

    @quantkeep.record("seats", key=("seat",))
    class Seat(Record):
        seat: str
        desk: str | None = field(default=None, references="desks", on_delete="cascade")

    made = backend(path, Town, Before, Seat)
    made.close()
    with opened(path, Town, Before, Seat) as keep:
        for floor, name in enumerate("abc"):
            keep.commit(
                keep.table(Before).put(Before(name=name, city=name, floor=floor)),
                keep.table(Seat).put(Seat(seat=name, desk=name)),
            )
        keep.commit(*(keep.table(Town).put(Town(town=name)) for name in "abc"))


@quantkeep.record("towns", key=("town",))
class Town(Record):
    town: str


@quantkeep.record("seats", key=("seat",))
class Seat(Record):
    seat: str
    desk: str | None = field(default=None, references="desks", on_delete="cascade")


@pytest.mark.requirement("Z-3", "KB-33", "X-6")
def test_a_table_is_rebuilt_where_its_constraints_changed(path):
    older(path)

    @quantkeep.record("desks", key=("name",))
    class After(Record):
        name: str
        city: str | None = field(default=None, references="towns")
        floor: int | None = None
        open: bool | None = None

    with opened(path, Town, After, Seat) as keep:
        desks = keep.table(After)
        assert [(d.name, d.city, d.revision) for d in desks.scan()] == [
            ("a", "a", 1), ("b", "b", 2), ("c", "c", 3),
        ]  # fmt: skip
        keep.commit(
            desks.put(After(name="d", floor=0, open=True))
        )  # null, and a floor that is taken
        with pytest.raises(InvalidReference, match="towns"):
            keep.commit(desks.put(After(name="e", city="nowhere")))
        keep.commit(desks.delete("a"))
        assert [s.seat for s in keep.table(Seat).scan()] == ["b", "c"], "others still refer to it"
        assert keep.backend.check() == []
    assert "table rebuilt" in migrations(path, "desks")
    assert "table rebuilt" not in migrations(path, "seats")


@pytest.mark.requirement("Z-3")
def test_a_constraint_that_is_declared_no_more_holds_no_more(path):
    older(path)

    @quantkeep.record("desks", key=("name",))
    class After(Record):
        name: str
        city: str = "here"
        floor: int | None = None

    with opened(path, Town, After, Seat) as keep:
        keep.commit(keep.table(After).put(After(name="d", floor=0)))
    changes = migrations(path, "desks")
    assert changes[-1].startswith("index uq_desks_floor")
    assert changes[-1].endswith("dropped")
    assert "table rebuilt" not in changes


@pytest.mark.parametrize("what", ["reference", "unique"])
def test_a_constraint_that_is_not_met_leaves_everything_as_it_was(path, what):
    older(path)
    before = rows(path, "SELECT sql FROM sqlite_master ORDER BY 1")
    with closing(sqlite3.connect(path)) as stranger, stranger:
        stranger.execute("DELETE FROM towns WHERE town = 'b'" if what == "reference" else
                         "UPDATE desks SET city = 'a'")  # fmt: skip

    @quantkeep.record(
        "desks", key=("name",), unique=[("floor",)] + [("city",)] * (what == "unique")
    )
    class After(Record):
        name: str
        city: str = field(default="", references="towns" if what == "reference" else None)
        floor: int | None = None

    expected = InvalidReference if what == "reference" else InvalidRecord
    with pytest.raises(expected, match="stored"):
        opened(path, Town, After, Seat)
    assert rows(path, "SELECT sql FROM sqlite_master ORDER BY 1") == before


@pytest.mark.requirement("Z-3")
def test_two_programs_that_add_at_the_same_moment_both_have_what_they_added(path):
    """Each read the schema before the other wrote its own."""

    @quantkeep.record()
    class City(Desk):
        mayor: str | None = None

    @quantkeep.record()
    class Tower(Desk):
        height: float | None = None

    backend(path, Desk).close()
    one, other = (open_backend(Url.parse(f"sqlite:///{path}"), Opening()) for _ in range(2))
    for handle, record in ((one, City), (other, Tower)):
        handle.ensure([record.collection], schema.describe([record.collection]))
    known = {c.name: c for c in schema.understand(other.description())}
    assert known["desks"].names == ("name", "city", "height", "mayor")
    one.close()
    other.close()
    with opened(path, Desk, City) as keep:
        keep.commit(keep.table(City).put(City(name="a", mayor="m")))
        assert keep.table(City).fetch("a").mayor == "m"
