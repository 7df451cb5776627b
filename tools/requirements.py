#!/usr/bin/env python3
"""Write docs/requirements.md: what serves each requirement, and which tests prove it.

    python tools/requirements.py           writes it
    python tools/requirements.py --check   exits 1 when it is out of date

The numbers and their texts are those of docs/requirement-numbers.txt. A test names them, and the
API it shows them on, in a marker:

    @pytest.mark.requirement("D70-23", api="SessionStore.resume")

on a function, a class or a case (`pytest.param(..., marks=...)`), or on a module as `pytestmark`.
The tests are read, not imported, so that this needs no driver and no pytest.
"""

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

NUMBERS = "docs/requirement-numbers.txt"
DOCUMENT = "docs/requirements.md"
TESTS = (
    "core/tests",
    "backends/tests",
    "plugins/tests",
    "conformance/tests",
    "conformance/quantkeep_conformance",
    "examples",
    "tools/tests",
)
NOT_YET = "not yet"
PREFACE = f"""\
# Requirements

What quantkeep must keep, number by number, with the API that serves it and the tests that prove
it. `(+)` marks what the five original designs imply, or their authors came to need later.

This page is written by `tools/requirements.py` from `{NUMBERS}`
and the markers of the tests; edit those, not this.
"""


class Mistake(Exception):
    """Something in the tests or in the list of numbers that a person has to mend."""


@dataclass(frozen=True)
class Marker:
    """One `pytest.mark.requirement(...)`, and the test that carries it."""

    numbers: tuple[str, ...]
    api: str | None
    test: str


@dataclass
class Requirement:
    """One line of the list, and what the markers say of it."""

    number: str
    text: str
    apis: set[str] = field(default_factory=set)
    tests: set[str] = field(default_factory=set)


Sections = dict[str, list[Requirement]]


def read_numbers(listing: Path) -> Sections:
    """The requirements by section: `# Section` lines, and lines of a number and its text."""
    sections: Sections = {}
    seen: set[str] = set()
    for line in filter(None, listing.read_text(encoding="utf-8").splitlines()):
        first, _, rest = line.partition(" ")
        if first == "#":
            section = sections.setdefault(rest, [])
        elif first in seen:
            raise Mistake(f"{listing}: {first} stands there twice")
        else:
            seen.add(first)
            section.append(Requirement(first, rest))
    return sections


def read_markers(root: Path) -> Iterator[Marker]:
    """Every marker in the test files under *root*."""
    for folder in TESTS:
        for file in sorted((root / folder).rglob("*.py")):
            yield from markers_of(file, file.relative_to(root).as_posix())


def markers_of(file: Path, name: str) -> Iterator[Marker]:
    tree = ast.parse(file.read_text(encoding="utf-8"), name)
    carried = list(_carried(tree, name))
    for call, test in carried:
        yield _marker(call, test, f"{name}:{call.lineno}")
    known = {id(call) for call, _ in carried}
    for stray in _calls(tree):
        if id(stray) not in known:
            raise Mistake(f"{name}:{stray.lineno}: this marker is on no test, class or module")


def _carried(scope: ast.AST, name: str) -> Iterator[tuple[ast.Call, str]]:
    """The marker calls in *scope*, each with the name of what carries it."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.ClassDef):
            yield from _decorated(node, f"{name}::{node.name}")
            yield from _carried(node, f"{name}::{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("test"):
                yield from _decorated(node, f"{name}::{node.name}")
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            yield from ((call, name) for call in _calls(node))
        elif isinstance(node, ast.stmt):
            yield from _carried(node, name)


def _decorated(
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[tuple[ast.Call, str]]:
    return ((call, name) for decorator in node.decorator_list for call in _calls(decorator))


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and ast.unparse(inner.func).endswith("mark.requirement"):
            yield inner


def _marker(call: ast.Call, test: str, place: str) -> Marker:
    try:
        numbers = tuple(_text(argument) for argument in call.args)
        named = {str(keyword.arg): _text(keyword.value) for keyword in call.keywords}
    except (TypeError, ValueError):
        raise Mistake(f"{place}: a marker takes plain strings") from None
    if not numbers or named.keys() - {"api"}:
        raise Mistake(f"{place}: a marker takes numbers and api=, nothing else")
    return Marker(numbers, named.get("api"), test)


def _text(node: ast.expr) -> str:
    value = ast.literal_eval(node)
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def join(sections: Sections, markers: Iterator[Marker]) -> None:
    """Write into each requirement which tests and APIs the markers name."""
    by_number = {each.number: each for each in chain(*sections.values())}
    unknown: dict[str, set[str]] = defaultdict(set)
    for marker in markers:
        for number in marker.numbers:
            if number not in by_number:
                unknown[marker.test].add(number)
                continue
            by_number[number].tests.add(marker.test)
            by_number[number].apis.update(filter(None, [marker.api]))
    if unknown:
        lines = (f"{test}: {', '.join(sorted(bad))}" for test, bad in sorted(unknown.items()))
        raise Mistake(f"not in {NUMBERS}:\n" + "\n".join(lines))


def document(sections: Sections) -> str:
    """The whole page."""
    listed = "\n".join(f"\n## {name}\n\n{_section(each)}" for name, each in sections.items())
    return f"{PREFACE}\n{_summary(sections)}\n{listed}\n"


def _summary(sections: Sections) -> str:
    rows = ["| | numbers | proved | not yet |", "|---|---:|---:|---:|"]
    for name, section in (*sections.items(), ("all", [*chain(*sections.values())])):
        proved = sum(bool(each.tests) for each in section)
        rows.append(f"| {name} | {len(section)} | {proved} | {len(section) - proved} |")
    return "\n".join(rows)


def _section(section: list[Requirement]) -> str:
    return "\n".join(line for each in section for line in _entry(each))


def _entry(each: Requirement) -> Iterator[str]:
    yield f"- **{each.number}** {each.text}"
    if each.apis:
        yield f"  - served by {', '.join(f'`{api}`' for api in sorted(each.apis))}"
    for test in sorted(each.tests):
        yield f"  - `{test}`"
    if not each.tests:
        yield f"  - {NOT_YET}"


def main() -> str | None:
    """Write or check the page; what is wrong, if anything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help=f"exit 1 if {DOCUMENT} is out of date")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    arguments = parser.parse_args()
    page = arguments.root / DOCUMENT
    try:
        sections = read_numbers(arguments.root / NUMBERS)
        join(sections, read_markers(arguments.root))
    except Mistake as mistake:
        return str(mistake)
    if arguments.check:
        return _stale(page, document(sections))
    page.write_text(document(sections), encoding="utf-8")
    return None


def _stale(page: Path, expected: str) -> str | None:
    if page.exists() and page.read_text(encoding="utf-8") == expected:
        return None
    return f"{DOCUMENT} is out of date: run python tools/requirements.py"


if __name__ == "__main__":
    sys.exit(main())
