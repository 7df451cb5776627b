"""The backend from elsewhere, as ``docs/backend-authors.md`` tells of it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "third_party_backend"
SOURCES = sorted((PROJECT / "src" / "quantkeep_lmdb").glob("*.py"))
GUIDE = (ROOT / "docs" / "backend-authors.md").read_text(encoding="utf-8")


def test_it_is_small():
    assert sum(len(source.read_text().splitlines()) for source in SOURCES) < 250


def test_it_knows_nothing_that_is_private():
    for source in SOURCES:
        imported = re.findall(r"^(?:from|import) (\S+)", source.read_text(), re.MULTILINE)
        ours = {name for name in imported if name.startswith("quantkeep")}
        assert not [name for name in ours if "._" in name or "_backends" in name], source


def test_it_is_found_by_its_scheme():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["quantkeep.backends"] == {"lmdb": "quantkeep_lmdb"}


def test_the_guide_quotes_what_is_there():
    code = "\n".join(source.read_text() for source in SOURCES)
    for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL):
        for line in block.splitlines():
            statement = line.strip().partition("  #")[0]
            if statement and not statement.endswith("..."):
                assert statement in code, statement


def test_the_guide_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", GUIDE):
        assert (ROOT / "docs" / target).exists(), target
