"""Commands of plugins: found by their entry point; a broken plugin is one warning."""

import pytest

GOOD = """
import click
from quantkeep import hookimpl

@click.command()
def shout():
    "Shout."
    click.echo("HELLO")

@click.command()
def trades():
    click.echo("not yours")

@hookimpl
def quantkeep_commands():
    return [shout, trades]
"""
HOOK = """
from quantkeep import hookimpl

@hookimpl
def quantkeep_commands({0}):
    return {1}
"""
BROKEN = {
    "raises": "raise RuntimeError('redis://u:s3cr3t@h is\\ndown')",
    "lacks": "import a_module_that_is_not_there",
    "exits": "import sys; sys.exit('bye')",
    "returns": HOOK.format("", "['shout']"),
    "misspells": HOOK.format("nonsense", "[]"),
    "fails": HOOK.format("", "1 / 0"),
}


@pytest.fixture
def installed(tmp_path, process):
    """Runs the command line with a distribution of these modules installed."""
    folder = tmp_path / "site"

    def run(*arguments, **modules):
        facts = folder / "strangers-1.0.dist-info"
        facts.mkdir(parents=True)
        facts.joinpath("METADATA").write_text(
            "Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n"
        )
        entries = "\n".join(f"{name} = stranger_{name}" for name in modules)
        facts.joinpath("entry_points.txt").write_text(f"[quantkeep.plugins]\n{entries}\n")
        for name, code in modules.items():
            folder.joinpath(f"stranger_{name}.py").write_text(code)
        return process(*arguments, PYTHONPATH=str(folder))

    return run


def test_a_plugin_s_command_joins(installed):
    result = installed("shout", good=GOOD)
    assert (result.code, result.out) == (0, "HELLO\n")


def test_it_is_listed_with_its_help(installed):
    assert "Shout." in installed("--help", good=GOOD).out


def test_it_cannot_take_a_name_of_core(installed):
    assert "List trades" in installed("trades", "--help", good=GOOD).out


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_one_warning_and_breaks_nothing(installed, kind):
    result = installed("--help", good=GOOD, **{kind: BROKEN[kind]})
    assert result.code == 0
    assert "Shout." in result.out
    (warning,) = [line for line in result.err.splitlines() if kind in line]
    assert warning.startswith(f"warning: plugin {kind!r} is broken and left out: ")
    assert "s3cr3t" not in result.err


def test_a_plugin_named_as_its_command_needs_no_other(installed):
    result = installed("shout", aaa=BROKEN["raises"], shout=GOOD)
    assert result == (0, "HELLO\n", "")


def test_commands_of_core_do_not_even_import_plugins(installed):
    result = installed("backends", "-f", "json", evil="import os; os._exit(7)")
    assert result.code == 0
    assert result.rows


def test_plugins_can_be_turned_off(process, installed, monkeypatch):
    monkeypatch.setenv("QUANTKEEP_DISABLE_PLUGINS", "1")
    assert installed("shout", good=GOOD).code == 2
