"""The catalogue: every clause has a name, a sentence, and a line in the documentation."""

from collections import Counter
from itertools import groupby
from pathlib import Path

from quantkeep_conformance.clauses import Facility, need_in_words
from quantkeep_conformance.records import KIT_RECORDS
from quantkeep_conformance.samples import minimal, populated
from quantkeep_conformance.suites import SUITES, catalogue
from quantkeep_conformance.suites.roundtrip import STORES

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"


def documented() -> str:
    """The table of clauses, as docs/conformance.md has to have it."""
    lines = ["| clause | promises | needs |", "|---|---|---|"]
    for clause in catalogue():
        needs = ", ".join(map(need_in_words, clause.needs))
        lines.append(f"| `{clause.id}` | {clause.sentence.replace('|', '&#124;')} | {needs} |")
    return "\n".join(lines) + "\n"


def test_ids_are_unique():
    counts = Counter(clause.id for clause in catalogue())
    assert [clause for clause, count in counts.items() if count > 1] == []
    assert len(counts) > 180


def test_every_clause_is_a_sentence():
    for clause in catalogue():
        assert clause.sentence.endswith((".", ")")), clause.id
        assert len(clause.sentence) < 130, clause.id


def test_the_documentation_lists_them():
    assert documented() in DOCUMENT.read_text(encoding="utf-8")


def test_rows_of_the_documentation_have_the_columns_of_their_tables():
    tables = documented_tables()
    assert len(tables) > 5
    for head, *rows in tables:
        assert [row for row in rows if row.count("|") != head.count("|")] == []


def documented_tables() -> list[list[str]]:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    return [[*part] for row, part in groupby(lines, lambda line: line.startswith("|")) if row]


def test_what_a_clause_needs_is_defined():
    """Beside the table, in words."""
    text = " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    for facility in Facility:
        assert f"- *{facility.value.partition(',')[0]}*: " in text


def test_every_suite_is_collected():
    from quantkeep_conformance import test_kit

    collected = [
        base for cls in vars(test_kit).values() if isinstance(cls, type) for base in cls.__mro__
    ]
    assert [suite.__name__ for suite in SUITES if suite not in collected] == []


def test_samples_are_what_they_say():
    for records in STORES.values():
        for record in records:
            full, bare = populated(record).as_dict(), minimal(record).as_dict()
            assert None not in full.values(), record
            nullable = [c.name for c in record.collection.columns if c.nullable]
            assert [name for name, value in bare.items() if value is None] == nullable


def test_the_kits_records_use_everything_a_record_can_declare():
    collections = [record.collection for record in KIT_RECORDS]
    columns = [column for collection in collections for column in collection.columns]
    assert {c.kind for c in columns if c.nullable} == {c.kind for c in columns if not c.nullable}
    assert any(c.choices for c in columns)
    assert any(c.extensible for c in columns)
    for aspect in ("log", "immutable", "identity", "unique", "indexes", "references", "stream"):
        assert any(getattr(collection, aspect) for collection in collections), aspect
    on_delete = {r.on_delete for collection in collections for r in collection.references}
    assert on_delete == {"restrict", "cascade"}
