"""The repository's conftest.py: a skip is a failure, and tests without their data are named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[2] / "conftest.py"
SKIPS = {
    "a call": "def test_it(): pytest.skip('later')",
    "a marker": "@pytest.mark.skip(reason='later')\ndef test_it(): ...",
    "a module": "pytest.importorskip('no_such_module')\ndef test_it(): ...",
}


@pytest.fixture
def run(tmp_path):
    """Run a module of tests beside a copy of conftest.py; the exit code and the output."""
    tmp_path.joinpath("conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"))

    def run(text, **environment):
        tmp_path.joinpath("test_it.py").write_text(f"import pytest\n\n{text}\n")
        kept = {name: os.environ[name] for name in os.environ if not name.startswith("QUANTKEEP_")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tmp_path],
            cwd=tmp_path,
            env=kept | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run


@pytest.mark.parametrize("text", SKIPS.values(), ids=SKIPS)
def test_a_skip_fails_where_none_is_allowed(run, text):
    code, output = run(text, QUANTKEEP_TEST_NO_SKIP="1")
    assert code in (1, 2)
    assert "a skip, where none is allowed" in output


def test_an_expected_failure_is_no_skip(run):
    text = "@pytest.mark.xfail(reason='known')\ndef test_it(): assert False"
    assert run(text, QUANTKEEP_TEST_NO_SKIP="1")[0] == 0


def test_tests_on_real_data_are_left_out_by_name_where_there_is_none(run):
    code, output = run("def test_a(real_data): ...\ndef test_b(): ...")
    assert code == 0
    assert "1 passed, 1 deselected" in output
    assert "QUANTKEEP_REAL_DATA is not set" in output


def test_tests_on_real_data_run_where_it_is(run, tmp_path):
    text = "def test_a(real_data): assert (real_data / 'test_it.py').is_file()"
    code, output = run(text, QUANTKEEP_REAL_DATA=str(tmp_path))
    assert code == 0
    assert "1 passed" in output


def test_real_data_that_is_not_there_is_an_error(run, tmp_path):
    code, output = run("def test_a(real_data): ...", QUANTKEEP_REAL_DATA=str(tmp_path / "no"))
    assert code == 1
    assert "is no folder" in output
