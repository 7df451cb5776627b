"""The backend from elsewhere, as ``docs/backend-authors.md`` tells of it."""

import re
import tomllib
from pathlib import Path

from quantkeep.backend import Backend
from quantkeep.model import KeyValueKeep

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


def test_the_guide_shows_all_of_it():
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    assert [source.read_text() for source in SOURCES if source.read_text() not in blocks] == []


def test_the_guide_tells_of_every_method():
    methods = {name for name in vars(Backend) if not name.startswith("_")}
    must, optional = (
        {
            name
            for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
            for name in re.findall(r"`(\w+)`", cell)
        }
        for table in re.findall(r"^\| method \|.*?\n\n", GUIDE, re.DOTALL | re.MULTILINE)
    )
    assert must == Backend.__abstractmethods__
    assert optional == methods - must - {"name"}


def test_the_guide_says_how_a_key_value_keep_is_called():
    methods = {name for name in vars(KeyValueKeep) if not name.startswith("_")}
    assert set(re.findall(r"\bkeep\.(\w+)\(", GUIDE)) == methods - {"shelves"}


def test_the_guide_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", GUIDE):
        assert (ROOT / "docs" / target).exists(), target
