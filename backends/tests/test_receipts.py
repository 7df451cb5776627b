"""Receipts and descriptions of each engine, however they were written: changed, or of before."""

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import redis

import quantkeep
from quantkeep import Corrupt, Keep, Receipt, Record
from quantkeep.cli import main
from quantkeep.errors import OperationConflict
from quantkeep.url import Url


@quantkeep.record("receipts_notes", key=("name",))
class Note(Record):
    name: str


@quantkeep.record("receipts_lines", log=True, stream=("book",), identity=("uid",))
class Line(Record):
    book: str = "a"
    uid: str


def lines(count: int) -> list[Line]:
    return [Line(uid=f"{number}") for number in range(count)]


# Engines have a way of their own for most of these
WAYS: dict[str, Callable[[Keep], list[Any]]] = {
    "an entry": lambda keep: [keep.table(Line).append(lines(1))],
    "a record": lambda keep: [keep.table(Note).put(Note(name="a"))],
    "many entries": lambda keep: [keep.table(Line).append(lines(3_000))],
    "several writes": lambda keep: [
        keep.table(Line).append(lines(2)),
        keep.table(Note).put(Note(name="a")),
    ],
}


def opened(engine_url: str) -> Keep:
    return quantkeep.open({"tape": engine_url}, records=[Note, Line])


def committed(keep: Keep, way: str) -> Receipt:
    return keep.commit(*WAYS[way](keep), op_id="é'\\")


def filled(engine_url: str, way: str) -> Receipt:
    """A keep whose handles know the stream, with an operation behind that."""
    with opened(engine_url) as keep:
        keep.commit(keep.table(Line).append([Line(uid="first")]))
        return committed(keep, way)


@pytest.mark.requirement("Z-10")
@pytest.mark.parametrize("way", WAYS)
def test_a_receipt_is_given_again(engine_url: str, way: str) -> None:
    first = filled(engine_url, way)
    with opened(engine_url) as keep:
        found, again = keep.resolve("é'\\"), committed(keep, way)
        assert found is not None
        for receipt in (found, again):
            assert (receipt.outcomes, receipt.at) == (first.outcomes, first.at)
        with pytest.raises(OperationConflict):
            keep.commit(keep.table(Note).put(Note(name="other")), op_id="é'\\")
        assert not keep.backend.check()


@pytest.mark.requirement("Z-6", "Z-10")
@pytest.mark.parametrize("way", WAYS)
def test_a_changed_receipt_is_corrupt_and_verify_names_it(
    engine_url: str, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(engine_url, way)
    with opened(engine_url) as keep:
        keep.backend.backdoor().flip_receipt("é'\\")
    for ask in (lambda keep: keep.resolve("é'\\"), lambda keep: committed(keep, way)):
        with opened(engine_url) as keep, pytest.raises(Corrupt, match="receipt of operation"):
            ask(keep)
    assert main(["verify", engine_url]) == 1
    assert repr("é'\\") in capsys.readouterr().err


# -- of before there were checksums --------------------------------------------------------------

_CHECK = re.compile(r'"check": "\w+:[0-9a-f]{8}", ')


def older_on_postgresql(engine_url: str) -> str:
    """Take the checksums out; gives the description."""
    parsed = Url.parse(engine_url)
    schema = parsed.options["schema"]
    with psycopg.connect(engine_url.partition("?")[0], autocommit=True) as connection:
        for table, column in (("quantkeep_meta", "value"), ("quantkeep_operations", "receipt")):
            connection.execute(
                f"UPDATE {schema}.{table} SET {column} = "
                f"regexp_replace({column}, '{_CHECK.pattern}', '')"
            )
        wanted = f"SELECT value FROM {schema}.quantkeep_meta WHERE name = 'description'"
        (found,) = connection.execute(wanted).fetchone() or ("",)
    return str(found)


def older_on_redis(engine_url: str) -> str:
    parsed = Url.parse(engine_url)
    link = redis.Redis.from_url(engine_url.partition("?")[0], decode_responses=True)
    with link:
        prefix = f"quantkeep:{{{parsed.options['name']}}}:"
        for key in (f"{prefix}meta", f"{prefix}ops"):
            for field, value in link.hgetall(key).items():
                link.hset(key, field, _CHECK.sub("", value))
        return str(link.hget(f"{prefix}meta", "description"))


OLDER = {"postgresql": older_on_postgresql, "redis": older_on_redis}


@pytest.mark.parametrize("engine_url", OLDER, indirect=True)
def test_what_was_written_before_there_were_checksums_is_read(engine_url: str) -> None:
    first = filled(engine_url, "several writes")
    make_older = OLDER[engine_url.partition(":")[0]]
    before = make_older(engine_url)
    assert before.startswith('{"collections": ')
    with opened(engine_url) as keep:
        again = committed(keep, "several writes")
        assert (again.outcomes, again.at) == (first.outcomes, first.at)
        with pytest.raises(OperationConflict):
            committed(keep, "a record")
        assert not keep.backend.check()
    assert make_older(engine_url) == before
