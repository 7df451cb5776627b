"""The project's own files agree with each other, and tests run on what users install."""

import configparser
import importlib.util
import os
import re
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = [
    Path(folder) for folder in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
]
BACKENDS = set(PROJECT["project"]["entry-points"]["quantkeep.backends"])


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_the_installed_package_is_tested_and_not_the_source_tree(folder):
    places = {Path(sysconfig.get_path("purelib"), folder.name)}
    if os.environ.get("QUANTKEEP_TEST_INSTALLED") != "1":
        places.add(ROOT / folder)
    assert Path(importlib.util.find_spec(folder.name).origin).parent in places


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_every_package_says_that_it_is_typed(folder):
    assert (ROOT / folder / "py.typed").is_file()


def test_a_backend_has_one_name_everywhere():
    entries = PROJECT["project"]["entry-points"]["quantkeep.backends"]
    assert entries == {name: f"quantkeep_backends.{name}" for name in BACKENDS}
    assert set(PROJECT["project"]["optional-dependencies"]) >= BACKENDS
    assert tox_factors() == BACKENDS


def test_import_linter_keeps_all_backends_apart():
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (apart,) = [each for each in contracts if each["type"] == "independence"]
    assert set(apart["modules"]) == {f"quantkeep_backends.{name}" for name in BACKENDS}


def tox_factors():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    (section,) = [each for each in tox.sections() if each.startswith("testenv:{")]
    return set(re.split(r"[{},]", section)[1:-1])
