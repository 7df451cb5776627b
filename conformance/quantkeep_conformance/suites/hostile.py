"""Hostile ids and documents: opaque text, never a path, a pattern or a program."""

import ast
import importlib.util
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import quantkeep
from quantkeep import ANYTHING, Corrupt, Invalid, Keep, Where
from quantkeep.batch import Put
from quantkeep.url import Url
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import Position, Specimen
from quantkeep_conformance.scratch import path_of
from quantkeep_conformance.suites.helpers import put

COUNT = 5000
PARTS = (
    "..", "../", "/", "\\", "~", "C:", "CON", "con.", ".", "%2e%2e%2f", "%00", "file://", "a", "A",
    "'", '"', "`", ";", "--", "/*", "*/", "' OR 1=1 --", "\") DROP TABLE x; --", "$(id)", "${x}",
    "{0}", "{{7*7}}", "%s", "%n", "*", "?", "[a-z]", "a%", "_", "\n", "\r\n", "\t", "\x01", "\x1b[31m",
    "\x7f", "\u202e", "\u200b", "\ufeff", "\u2028", "é", "e\u0301", "İ", "ß", "\U0001f4b9", "\uffff",
    "null", "None", "NaN", "true", "0", "-1", "1e9", "=1+1", "@x", "<script>", "&amp;", ":", "|",
    "{hash}", "}", "quantkeep:", "kit_positions", "__proto__", "constructor", " ", "\u00a0",
)  # fmt: skip
GADGETS = (
    '{"$host":["os.system",{"command":"id"}]}',
    '{"$host":["subprocess:Popen",["id"]]}',
    '{"$enum":["builtins.eval","x"]}',
    '{"$reduce":["os.system",["id"]]}',
    '{"$defaultdict":["eval",{}]}',
    '{"py/object":"os.system","$x":1,"$host":["os",{}]}',
    '{"$bytes":"not base64!"}',
)
EXECUTING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "yaml"}
EVALUATING = {"eval", "__import__"}  # exec of what a program composed itself is how attrs works
_ANY_OF_THEM = re.compile(rf"\b({'|'.join(sorted(EXECUTING | EVALUATING))})\b")


def hostile_ids() -> list[str]:
    """5,000 ids, no two the same, that have each hurt somebody; always the same ones."""
    draw = random.Random(36)
    found = dict.fromkeys([*PARTS, "x" * 512, "é" * 256, "../" * 170])
    while len(found) < COUNT:
        found["".join(draw.choices(PARTS, k=draw.randint(1, 5)))] = None
    return [*found]


class Hostile(Suite):
    """Nothing that is stored is ever interpreted."""

    family = "hostile"

    def test_ids(self, keep: Keep) -> None:
        """5,000 hostile ids are 5,000 keys: each finds its own record, and no other."""
        ids = hostile_ids()
        for start in range(0, COUNT, 500):
            some = enumerate(ids[start : start + 500], start)
            put(keep, *(Specimen(name=name, integer=n) for n, name in some))
        table = keep.table(Specimen)
        assert table.count() == COUNT
        for number, name in enumerate(ids):
            found = table.get(name)
            assert found is not None, f"{name!r} was not found"
            assert (found.name, found.integer) == (name, number)

    def test_ids_in_queries(self, keep: Keep) -> None:
        """Hostile text in a query is compared, not interpreted."""
        ids = hostile_ids()[: len(PARTS)]
        put(keep, *(Position(account=name, symbol=name) for name in ids))
        table = keep.table(Position)
        for name in ids:
            assert [p.symbol for p in table.list(Where("symbol", "==", name))] == [name]
            found = {p.account for p in table.list(Where("account", "prefix", name))}
            assert found == {other for other in ids if other.startswith(name)}, name

    def test_ids_of_files(self, place: Place, keep: Keep) -> None:
        """Ids that look like paths leave no file outside the keep's own place."""
        before = _outside(place)
        put(keep, *(Specimen(name=f"../{name}") for name in PARTS))
        put(keep, *(Position(account=name, symbol=f"../../{name}") for name in PARTS))
        keep.commit(keep.table(Specimen).put(Specimen(name="x")), op_id="../../op")
        assert _outside(place) == before

    def test_documents_execute_nothing(self, keep: Keep) -> None:
        """A document that names code to run, or is none, is an error when read, and runs nothing."""
        table = keep.table(Specimen)
        place = table.collection.places["document"]
        for number, gadget in enumerate(GADGETS):
            row = [*table.seal(Specimen(name=f"{number}")).values]
            row[place] = gadget
            sealed = table.collection.sealer.seal_row(tuple(row))
            keep.commit(Put(table.collection, sealed, ANYTHING))
            with pytest.raises((Corrupt, Invalid)):
                table.get(f"{number}")

    def test_code_executes_nothing(self, keep: Keep) -> None:
        """Neither quantkeep nor the backend imports what runs code on reading: pickle, yaml, eval."""
        engine = type(keep.backend.usable())
        package = engine.__module__.partition(".")[0]
        found = [
            problem
            for name in {quantkeep.__name__, package}
            for file in _sources(name)
            for problem in executing(file)
        ]
        assert not found, "; ".join(found)


def _outside(place: Place) -> set[Path]:
    """The files around a place; none where it is not made of files."""
    path = path_of(Url.parse(place.url))
    if path is None:
        return set()
    inside = path.parent
    around = [inside.parent, inside.parent.parent]
    return {f for folder in around for f in folder.iterdir() if f != inside}


def _sources(package: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return
    if spec.submodule_search_locations:
        for folder in spec.submodule_search_locations:
            yield from Path(folder).rglob("*.py")
    else:
        yield Path(spec.origin)


def executing(file: Path) -> Iterator[str]:
    """Each place in a source file that could run code which was stored."""
    source = file.read_text(encoding="utf-8")
    if not _ANY_OF_THEM.search(source):  # to parse them all takes longer than all else here
        return
    for node in ast.walk(ast.parse(source)):
        names = set[str]()
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names} & EXECUTING
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]} & EXECUTING
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            names = {node.func.id} & EVALUATING
        for name in names:
            yield f"{file}:{node.lineno} uses {name}"  # type: ignore[attr-defined]  # has one
