"""The page of requirements says what the markers say, and refuses those that say nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "requirements.py"
LISTING = """\
# Types
X-1 Exact decimals.
X-2 Aware instants.

# Session state
D70-7 (+) Snapshots.
D70-23 S1: objects come back.
"""


@pytest.fixture
def project(tmp_path):
    write(tmp_path / "docs/requirement-numbers.txt", LISTING)
    return tmp_path


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def write_test(project, text, file="core/tests/test_it.py"):
    write(project / file, f"import pytest\n\n{text}")


def run(project, *options):
    command = [sys.executable, TOOL, "--root", project, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def page(project):
    done = run(project)
    assert (done.returncode, done.stderr) == (0, "")
    return (project / "docs/requirements.md").read_text(encoding="utf-8")


def entry(text, number):
    """The lines of the page that belong to *number*."""
    start = text.index(f"- **{number}**")
    return text[start:].split("\n- **")[0].split("\n\n")[0].splitlines()


def test_a_number_without_a_test_says_not_yet(project):
    assert entry(page(project), "D70-7") == ["- **D70-7** (+) Snapshots.", "  - not yet"]


def test_a_marker_names_the_test_and_the_api(project):
    marker = '@pytest.mark.requirement("D70-23", api="SessionStore.resume")'
    write_test(project, f"{marker}\ndef test_resume(): ...")
    assert entry(page(project), "D70-23") == [
        "- **D70-23** S1: objects come back.",
        "  - served by `SessionStore.resume`",
        "  - `core/tests/test_it.py::test_resume`",
    ]


def test_one_marker_may_carry_several_numbers(project):
    write_test(project, '@pytest.mark.requirement("X-1", "X-2")\ndef test_both(): ...')
    text = page(project)
    for number in ("X-1", "X-2"):
        assert entry(text, number)[1:] == ["  - `core/tests/test_it.py::test_both`"]


def test_markers_are_found_on_classes_methods_cases_and_modules(project):
    write_test(
        project,
        """
pytestmark = [pytest.mark.requirement("X-1")]

@pytest.mark.requirement("X-2")
class TestInstants:
    @pytest.mark.requirement("D70-7")
    def test_snapshot(self): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.requirement("D70-23"))])
def test_case(x): ...
""",
    )
    text = page(project)
    where = "core/tests/test_it.py"
    assert entry(text, "X-1")[1:] == [f"  - `{where}`"]
    assert entry(text, "X-2")[1:] == [f"  - `{where}::TestInstants`"]
    assert entry(text, "D70-7")[1:] == [f"  - `{where}::TestInstants::test_snapshot`"]
    assert entry(text, "D70-23")[1:] == [f"  - `{where}::test_case`"]


@pytest.mark.parametrize(
    "file",
    [
        "backends/tests/test_it.py",
        "plugins/tests/test_it.py",
        "conformance/tests/deep/test_it.py",
        "conformance/quantkeep_conformance/suites/sessions.py",
        "examples/tests/test_it.py",
        "tools/tests/test_it.py",
    ],
)
def test_tests_of_every_part_are_read(project, file):
    write_test(project, '@pytest.mark.requirement("X-1")\ndef test_it(): ...', file)
    assert entry(page(project), "X-1")[1:] == [f"  - `{file}::test_it`"]


def test_the_summary_counts_what_is_proved(project):
    write_test(project, '@pytest.mark.requirement("X-1")\ndef test_it(): ...')
    text = page(project)
    assert "| Types | 2 | 1 | 1 |" in text
    assert "| all | 4 | 1 | 3 |" in text


def test_check_tells_a_page_that_is_out_of_date(project):
    assert run(project, "--check").returncode == 1
    page(project)
    assert run(project, "--check").returncode == 0
    write_test(project, '@pytest.mark.requirement("X-1")\ndef test_it(): ...')
    done = run(project, "--check")
    assert done.returncode == 1
    assert "docs/requirements.md is out of date" in done.stderr


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('@pytest.mark.requirement("X-99")\ndef test_it(): ...', "test_it: X-99"),
        ("@pytest.mark.requirement(NUMBER)\ndef test_it(): ...", ":3: a marker takes plain"),
        ("@pytest.mark.requirement(1)\ndef test_it(): ...", ":3: a marker takes plain"),
        ("@pytest.mark.requirement()\ndef test_it(): ...", ":3: a marker takes numbers"),
        ('@pytest.mark.requirement("X-1", why="")\ndef test_it(): ...', ":3: a marker takes"),
        ('case = pytest.mark.requirement("X-1")', ":3: this marker is on no test"),
        ('@pytest.mark.requirement("X-1")\ndef helper(): ...', ":3: this marker is on no test"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--check",)])
def test_a_marker_that_says_nothing_is_refused(project, text, complaint, options):
    write_test(project, text)
    done = run(project, *options)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "docs/requirements.md").exists()


def test_a_number_listed_twice_is_refused(project):
    write(project / "docs/requirement-numbers.txt", f"{LISTING}X-1 Again.\n")
    done = run(project)
    assert done.returncode == 1
    assert "X-1 stands there twice" in done.stderr
