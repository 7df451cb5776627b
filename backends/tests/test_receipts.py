"""Receipts and descriptions of each engine, however they were written: changed, or of before."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

import quantkeep
from quantkeep import Corrupt, Keep, Receipt, Record
from quantkeep.cli import main
from quantkeep.errors import OperationConflict
from quantkeep.url import Url
from quantkeep_conformance.scratch import Scratch


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


@pytest.fixture(params=["json", "sqlite", "parquet", "postgresql", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param in ("json", "sqlite", "parquet"):
        yield f"{request.param}:///{tmp_path}/keep"
        return
    scratch = Scratch(request.getfixturevalue(f"{request.param}_server").url)
    yield scratch.place()
    scratch.close()


def opened(url: str) -> Keep:
    return quantkeep.open(url, records=[Note, Line])


def committed(keep: Keep, way: str) -> Receipt:
    return keep.commit(*WAYS[way](keep), op_id="é'\\")


def filled(url: str, way: str) -> Receipt:
    """A keep whose handles know the stream, with an operation behind that."""
    with opened(url) as keep:
        keep.commit(keep.table(Line).append([Line(uid="first")]))
        return committed(keep, way)


@pytest.mark.requirement("Z-10")
@pytest.mark.parametrize("way", WAYS)
def test_a_receipt_is_given_again(url: str, way: str) -> None:
    first = filled(url, way)
    with opened(url) as keep:
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
    url: str, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(url, way)
    with opened(url) as keep:
        keep.backend.backdoor().flip_receipt("é'\\")
    for ask in (lambda keep: keep.resolve("é'\\"), lambda keep: committed(keep, way)):
        with opened(url) as keep, pytest.raises(Corrupt, match="receipt of operation"):
            ask(keep)
    assert main(["verify", url]) == 1
    assert repr("é'\\") in capsys.readouterr().err


# -- of before there were checksums --------------------------------------------------------------

_CHECK = re.compile(r'"check": "\w+:[0-9a-f]{8}", ')


def older_on_postgresql(url: str) -> str:
    """Take the checksums out; gives the description."""
    parsed = Url.parse(url)
    schema = parsed.options["schema"]
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        for table, column in (("quantkeep_meta", "value"), ("quantkeep_operations", "receipt")):
            connection.execute(
                f"UPDATE {schema}.{table} SET {column} = "
                f"regexp_replace({column}, '{_CHECK.pattern}', '')"
            )
        wanted = f"SELECT value FROM {schema}.quantkeep_meta WHERE name = 'description'"
        (found,) = connection.execute(wanted).fetchone() or ("",)
    return str(found)


def older_on_redis(url: str) -> str:
    parsed = Url.parse(url)
    link = redis.Redis.from_url(url.partition("?")[0], decode_responses=True)
    with link:
        prefix = f"quantkeep:{{{parsed.options['name']}}}:"
        for key in (f"{prefix}meta", f"{prefix}ops"):
            for field, value in link.hgetall(key).items():
                link.hset(key, field, _CHECK.sub("", value))
        return str(link.hget(f"{prefix}meta", "description"))


OLDER = {"postgresql": older_on_postgresql, "redis": older_on_redis}


@pytest.mark.parametrize("url", OLDER, indirect=True)
def test_what_was_written_before_there_were_checksums_is_read(url: str) -> None:
    first = filled(url, "several writes")
    make_older = OLDER[url.partition(":")[0]]
    before = make_older(url)
    assert before.startswith('{"collections": ')
    with opened(url) as keep:
        again = committed(keep, "several writes")
        assert (again.outcomes, again.at) == (first.outcomes, first.at)
        with pytest.raises(OperationConflict):
            committed(keep, "a record")
        assert not keep.backend.check()
    assert make_older(url) == before
