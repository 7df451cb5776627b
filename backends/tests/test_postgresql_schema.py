"""The schema on PostgreSQL: as a DBA would make it, and brought to what is declared."""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import psycopg
import pytest

import quantkeep
from quantkeep import Record, Where, field, schema
from quantkeep.errors import FormatTooNew, InvalidRecord, InvalidReference, InvalidUrl, NotFound
from quantkeep_backends.postgresql.system import LAYOUT

Rows = list[tuple[Any, ...]]


@quantkeep.record("desks", key=("desk",), indexes=[("tags",), ("limit", "opened_at")])
class Desk(Record):
    """Where traders sit.

    What follows is not in the comment.
    """

    desk: str = field(doc="its name")
    side: Literal["long", "short"] = "long"
    mood: str = field(default="calm", choices=["calm"], extensible=True)
    limit: Decimal | None = field(default=None, precision=(20, 8), doc="in USD")
    opened_at: datetime | None = None
    tags: list[str] | None = None
    seat: int | None = None


@quantkeep.record("notes", log=True, stream=("desk",), identity=("uid",), unique=[("topic", "day")])
class Note(Record):
    desk: str = field(references="desks", on_delete="cascade")
    uid: str | None = None
    topic: str | None = None
    day: int | None = None


RECORDS = (Desk, Note)


@pytest.fixture
def made(postgresql_url: str) -> Iterator[str]:
    quantkeep.open({"tape": postgresql_url}, records=RECORDS).close()
    return postgresql_url


@pytest.fixture
def ask(postgresql: psycopg.Connection[Any], postgresql_schema: str) -> Any:
    def asked(sql: str) -> Rows:
        return postgresql.execute(sql.replace("$SCHEMA", postgresql_schema)).fetchall()

    return asked


# -- as a DBA would make it ------------------------------------------------------------------------


def test_native_types(made: str, ask: Any) -> None:
    found = dict(
        ask(
            "SELECT column_name, concat_ws(' ', data_type, numeric_precision, numeric_scale, "
            "collation_name) FROM information_schema.columns "
            "WHERE table_schema = '$SCHEMA' AND table_name = 'desks'"
        )
    )
    assert found["desk"] == "text C"
    assert found["limit"] == "numeric 20 8"
    assert found["tags"] == "json"
    assert found["created_at"] == "timestamp with time zone"
    assert found["digest"] == "bytea"


def test_constraints(made: str, ask: Any) -> None:
    found = ask(
        "SELECT c.relname, pg_get_constraintdef(o.oid) FROM pg_constraint o JOIN pg_class c "
        "ON c.oid = o.conrelid WHERE o.connamespace = '$SCHEMA'::regnamespace AND contype <> 'n'"
    )
    said = {
        definition.replace("\n", " ") for table, definition in found if table in ("desks", "notes")
    }
    assert "PRIMARY KEY (desk)" in said
    assert "PRIMARY KEY (desk, revision)" in said
    assert any("CHECK" in d and "'long'" in d and "'short'" in d for d in said)
    assert not any("calm" in d for d in said), "others may add to an extensible enumeration"
    (key,) = (d for d in said if d.startswith("FOREIGN KEY"))
    assert key.endswith("desks(desk) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED")


def test_indexes(made: str, ask: Any) -> None:
    found = ask(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = '$SCHEMA' "
        "AND tablename IN ('desks', 'notes')"
    )
    said = [definition.partition(" USING ")[2] for (definition,) in found]
    assert "btree (topic, day) NULLS NOT DISTINCT" in said
    assert "btree (desk, uid) NULLS NOT DISTINCT WHERE (uid IS NOT NULL)" in said
    assert "gin (((tags)::jsonb) jsonb_path_ops)" in said
    assert 'btree ("limit" NULLS FIRST, opened_at NULLS FIRST)' in said


def test_comments(made: str, ask: Any) -> None:
    ((table, column),) = ask(
        "SELECT obj_description('$SCHEMA.desks'::regclass), "
        "col_description('$SCHEMA.desks'::regclass, (SELECT attnum FROM pg_attribute "
        "WHERE attrelid = '$SCHEMA.desks'::regclass AND attname = 'limit'))"
    )
    assert table == "Where traders sit."
    assert column == "in USD"


def test_contains_uses_the_index(made: str, ask: Any, postgresql: psycopg.Connection[Any]) -> None:
    with quantkeep.open({"tape": made}, records=RECORDS) as keep:
        desks = [Desk(desk=f"d{n}", tags=["x", f"t{n}"], seat=n) for n in range(300)]
        keep.commit(*map(keep.table(Desk).put, desks))
        found = keep.table(Desk).list(Where("tags", "contains", "t7"))
    assert [desk.desk for desk in found] == ["d7"]
    with postgresql.transaction():
        postgresql.execute("SET LOCAL enable_seqscan = off")
        plan = ask("EXPLAIN SELECT FROM $SCHEMA.desks WHERE tags::jsonb @> to_jsonb('t7'::text)")
    assert "gin_desks_tags" in str(plan)


# -- brought to what is declared -------------------------------------------------------------------


@quantkeep.record("desks", key=("desk",), indexes=[("tags",), ("limit", "opened_at"), ("floor",)])
class Wider(Record):
    """The same, some time later."""

    desk: str
    side: Literal["long", "short", "flat"] = "long"
    mood: str = field(default="calm", choices=["calm"], extensible=True)
    limit: Decimal | None = field(default=None, precision=(20, 8))
    opened_at: datetime | None = None
    tags: list[str] | None = None
    seat: int | None = None
    floor: int | None = None
    boss: str | None = field(default=None, references="desks")


def test_upgrade(made: str, ask: Any) -> None:
    with quantkeep.open({"tape": made}, records=RECORDS) as before:
        before.commit(before.table(Desk).put(Desk(desk="old", seat=1)))
        with quantkeep.open({"tape": made}, records=[Wider, Note]) as keep:
            old = keep.table(Wider).get("old")
            assert (old.floor, old.boss, old.seat) == (None, None, 1)
            keep.commit(keep.table(Wider).put(Wider(desk="n", side="flat", floor=3, boss="old")))
            with pytest.raises(InvalidReference):
                keep.commit(keep.table(Wider).put(Wider(desk="m", boss="nobody")))
        before.commit(before.table(Desk).put(Desk(desk="other")))  # who knows less goes on
    changes = [
        change for (change,) in ask("SELECT change FROM $SCHEMA.quantkeep_migrations ORDER BY 1")
    ]
    assert "column desks.floor added" in changes
    assert any(change.startswith("constraint ck_desks_side") for change in changes)


def test_upgrade_that_cannot_be(made: str, ask: Any) -> None:
    @quantkeep.record("desks", key=("desk",), unique=[("seat",)])
    class Unique(Desk):
        pass

    with quantkeep.open({"tape": made}, records=RECORDS) as keep:
        desks = keep.table(Desk)
        keep.commit(desks.put(Desk(desk="a", seat=1)), desks.put(Desk(desk="b", seat=1)))
    with pytest.raises(InvalidRecord, match="does not meet the new constraint"):
        quantkeep.open({"tape": made}, records=[Unique, Note])
    assert ask("SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'uq_desks%'") == [(0,)]
    quantkeep.open({"tape": made}, records=RECORDS).close()


def test_long_names_are_refused(postgresql_url: str) -> None:
    @quantkeep.record("x" * 63, key=("name",))
    class Long(Record):
        name: str

    with pytest.raises(InvalidRecord, match="longer than the 62 bytes"):
        quantkeep.open({"tape": postgresql_url}, records=[Long])


RACER = """
import sys, quantkeep
from quantkeep import Record
name = sys.argv[2]
@quantkeep.record("shared_" + str(int(name) % 2), key=("key",), indexes=[("value",)])
class Shared(Record):
    key: str
    value: int | None = None
import quantkeep_backends.postgresql.opening
print("ready", flush=True)
sys.stdin.readline()
with quantkeep.open(sys.argv[1], records=[Shared]) as keep:
    keep.commit(keep.table(Shared).put(Shared(key=name)))
print("done")
"""


def test_four_processes_race_to_make_it(
    postgresql_url: str, ask: Any, program: Callable[..., Any]
) -> None:
    racers = [program(RACER, postgresql_url, n) for n in range(4)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    ends = [racer.communicate() for racer in racers]
    assert [out.strip() for out, _ in ends] == ["done"] * 4, ends
    assert ask("SELECT count(*) FROM $SCHEMA.shared_0, $SCHEMA.shared_1") == [(4,)]
    assert ask("SELECT count(*) - count(DISTINCT statement) FROM $SCHEMA.quantkeep_migrations") == [
        (0,)
    ]


# -- whose schema it is ----------------------------------------------------------------------------


def test_a_strangers_schema_is_left_alone(
    postgresql_url: str, postgresql: psycopg.Connection[Any], postgresql_schema: str, ask: Any
) -> None:
    postgresql.execute(f'CREATE SCHEMA "{postgresql_schema}"')
    postgresql.execute(f'CREATE TABLE "{postgresql_schema}".customers (name text)')
    with pytest.raises(InvalidUrl, match=r"what another program made \('customers'"):
        quantkeep.open(postgresql_url)
    assert ask("SELECT relname FROM pg_class WHERE relnamespace = '$SCHEMA'::regnamespace") == [
        ("customers",)
    ]


def test_a_missing_schema_is_not_made_unasked(postgresql_url: str) -> None:
    with pytest.raises(NotFound, match="create=True makes it"):
        quantkeep.open(postgresql_url, create=False)
    with pytest.raises(NotFound):
        quantkeep.open(postgresql_url, read_only=True)


def test_an_empty_schema_is_taken(
    postgresql_url: str, postgresql: psycopg.Connection[Any], postgresql_schema: str
) -> None:
    postgresql.execute(f'CREATE SCHEMA "{postgresql_schema}"')
    quantkeep.open({"tape": postgresql_url}).close()


@pytest.mark.parametrize(("name", "known"), [("format", schema.FORMAT), ("layout", LAYOUT)])
def test_a_newer_format(
    made: str, postgresql: psycopg.Connection[Any], postgresql_schema: str, name: str, known: int
) -> None:
    table = f'"{postgresql_schema}".quantkeep_meta'
    postgresql.execute(f"UPDATE {table} SET value = '{known + 1}' WHERE name = '{name}'")
    with pytest.raises(FormatTooNew, match=f"has {name} {known + 1}"):
        quantkeep.open({"tape": made})


def test_a_compacted_keep_does_not_look_larger(made: str) -> None:
    """A vacuum adds maps of free space; they are not what is stored."""
    with quantkeep.open({"tape": made}, records=RECORDS) as keep:
        keep.commit(*(keep.table(Desk).put(Desk(desk=f"{n}")) for n in range(20)))
        before = keep.backend.sizes()["bytes"]
        keep.backend.compact()
        assert keep.backend.sizes()["bytes"] <= before
