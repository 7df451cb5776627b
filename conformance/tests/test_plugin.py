"""The pytest plugin, as the author of a backend uses it."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

SUITE = '''
import pytest
from quantkeep_conformance.suites import Listing, Durability, Embedding

class TestListing(Listing):
    """The journal's."""

    @pytest.fixture
    def store_url(self, tmp_path):
        return f"journal:///{tmp_path}/journal"

class TestEmbedding(Embedding):
    @pytest.fixture
    def store_url(self, tmp_path):
        return f"journal:///{tmp_path}/journal"

class TestDurability(Durability):
    @pytest.fixture
    def store_url(self):
        return "memory://"
'''


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)]),
    }
    command = [sys.executable, "-m", "pytest", "-p", "quantkeep_conformance.plugin", *arguments]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", "--strict-markers"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_suites_in_tests_of_ones_own(tmp_path):
    (tmp_path / "test_mine.py").write_text(SUITE)
    ended = ran(tmp_path, "--conformance-plugin", "naive.journal:SOUND")
    assert ended.returncode == 0, ended.stdout
    assert "3 not claimed" in ended.stdout
    assert "clauses: " in ended.stdout
    assert {path.name for path in tmp_path.iterdir()} <= {"test_mine.py", "__pycache__"}


def test_without_code(tmp_path):
    file = tmp_path / "report.json"
    store = "--store", "memory://", "--conformance-json", str(file), "-k", "values or leases"
    ended = ran(tmp_path, "--pyargs", "quantkeep_conformance", *store)
    assert ended.returncode == 0, ended.stdout
    said = json.loads(file.read_text())
    assert "leases.paused_holder_is_refused" in said["not_claimed"]
    assert str(said["seed"]) in ended.stdout


def test_failures_show_values(tmp_path):
    defect = "--store", "memory://", "--conformance-plugin", "naive.changing:rounds_decimals"
    ended = ran(tmp_path, "--pyargs", "quantkeep_conformance", "-k", "values", *defect)
    assert ended.returncode == 1
    assert "decimal: Decimal('0.000004') (Decimal) instead of Decimal('0.00000402')" in ended.stdout


def test_a_wrong_url_is_one_error(tmp_path):
    ended = ran(tmp_path, "--pyargs", "quantkeep_conformance", "--store", "nonsense://x")
    assert ended.returncode == 4
    assert "no backend answers" in ended.stdout + ended.stderr


def test_the_same_seed_draws_the_same(tmp_path):
    def drawn() -> object:
        file = tmp_path / "report.json"
        store = "--store", "memory://", "--conformance-json", str(file), "-k", "flips"
        ran(tmp_path, "--pyargs", "quantkeep_conformance", *store, "--conformance-seed", "9")
        return json.loads(file.read_text())["evidence"]["corruption.flips_are_never_silent"]

    assert drawn() == drawn() == {"flips": 60, "silent": 0, "seed": 9}
