"""What the README says is true: its program runs, its commands exist, its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quantkeep.cli.frame import command_line

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "docs" / "architecture.md"]
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^    quantkeep (.*)$", README, re.MULTILINE)


def run(command, folder):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QUANTKEEP_")}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment
    )


def test_the_program_goes_on_where_it_stopped(tmp_path):
    (program,) = PROGRAMS
    outs = [run([sys.executable, "-c", program], tmp_path) for _ in range(2)]
    assert [out.stderr for out in outs] == ["", ""]
    assert outs[0].stdout == "loop 1: 1 trades, 12.50 USD lost\n"
    assert outs[1].stdout == "loop 2: 2 trades, 25.00 USD lost\n"
    for command in COMMANDS:
        looked = run([sys.executable, "-m", "quantkeep", *command.split()], tmp_path)
        assert looked.returncode == 0, looked.stderr
        assert looked.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_core_that_are_named_are_there(page):
    named = re.findall(r"`([\w/]+\.py|[a-z]+/)`", page.read_text(encoding="utf-8"))
    places = (ROOT, ROOT / "core" / "quantkeep")
    missing = [name for name in named if not any((place / name).exists() for place in places)]
    assert missing == []


def test_commands_that_are_named_exist():
    group = command_line()
    named = {
        name for page in PAGES for name in re.findall(r"`quantkeep ([a-z]+)", page.read_text())
    }
    assert {"backends", "conformance"} <= named
    assert [name for name in sorted(named) if group.get_command(None, name) is None] == []
