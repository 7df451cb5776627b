"""``quantkeep conformance URL``, as a script would call it."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from quantkeep_conformance.commands import conformance, quantkeep_commands
from quantkeep_conformance.report import Report
from quantkeep_conformance.servers import Server


def called(*arguments: str):
    return CliRunner().invoke(conformance, arguments)


def test_it_joins_the_command_line():
    (command,) = quantkeep_commands()
    assert isinstance(command, click.Command)
    assert command.name == "conformance"


def test_a_sound_backend(tmp_path):
    file = tmp_path / "report.json"
    result = called("memory://", "--json", str(file), "-k", "listing or durability", "--seed", "5")
    assert result.exit_code == 0, result.output
    assert "listing.newest_n_ascending" in result.output
    said = json.loads(file.read_text())
    assert (said["backend"], said["level"], said["seed"]) == ("memory", "memory", 5)
    assert said["capabilities"] == ["snapshot_reads"]
    assert "listing.first_n" in said["passed"]
    assert said["failed"] == []
    assert said["not_claimed"] == [
        "durability.kill_at_random_moments",
        "durability.kill_while_compacting",
        "durability.kill_at_every_failpoint",
    ]


def test_a_defect_is_exit_code_1(tmp_path):
    file = tmp_path / "report.json"
    options = "--plugin", "naive.changing:rounds_decimals", "-k", "values", "--json", str(file)
    result = called("memory://", *options)
    assert result.exit_code == 1
    assert "FAILED" in result.output
    (failure,) = json.loads(file.read_text())["failed"]
    assert failure["clause"] == "values.decimals"
    assert "instead of Decimal" in failure["reason"]


def test_failures_are_told_whole_and_once_more_at_the_end(tmp_path):
    """In a pipe nothing is cut at the edge of a terminal that is not there."""
    file = tmp_path / "report.json"
    defect = "--plugin", "naive.changing:rounds_decimals", "--json", str(file)
    command = [sys.executable, "-m", "quantkeep", "conformance", "memory://", *defect]
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    ended = subprocess.run(
        [*command, "-k", "values.decimals or between_processes"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert "predictions.no_score_is_lost_between_processes" in ended.stdout
    (failure,) = json.loads(file.read_text())["failed"]
    *_, told, _ = ended.stdout.splitlines()
    assert told == f"FAILED values.decimals: {failure['reason']}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense://x"], "no backend answers to nonsense://"),
        (["memory://", "-k", "no_such_clause"], "no clause was selected"),
        (["memory://", "-k", "and and"], "no clause was selected"),
        (["sqlite:////no/such/folder/x.db"], "there is no folder"),
        ([], "give a URL"),
        (["memory://", "--plugin", "no_such_plugin"], "no_such_plugin"),
        (["memory://", "--plugin", "no_such_module:x"], "no_such_module"),
    ],
)
def test_what_cannot_be_run_is_exit_code_2(arguments, said):
    command = [sys.executable, "-m", "quantkeep", "conformance", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert said in ended.stderr


def test_a_password_is_not_shown(tmp_path):
    url = f"sqlite://user:c4n4ry@localhost{tmp_path}/x.db"
    command = [sys.executable, "-m", "quantkeep", "conformance", url]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "c4n4ry" not in ended.stdout + ended.stderr


def test_a_report_without_clauses_does_not_conform():
    assert not Report().conforms


@contextmanager
def remembered(settings=None):
    """A server that is none: what is stored there is in this process."""
    yield Server("memory://", weaknesses=())


def test_a_server_is_started_for_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "remembering", sys.modules[__name__])
    result = called("--server", "remembering:remembered", "-k", "values.null")
    assert result.exit_code == 0, result.output
    assert "Conformance of a keep on remembering:remembered" in result.output


def test_a_server_that_cannot_be_started_is_said():
    assert "no server 'nothing'" in called("--server", "nothing").output
    assert "is not on redis" in str(called("memory://", "--server", "redis").exception)
