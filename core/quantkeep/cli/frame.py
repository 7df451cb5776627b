"""The frame of the command line: which commands there are, and how they end.

A command ends well by returning, says "no" with ``ctx.exit(1)`` and gives up by raising: a
:class:`quantkeep.QuantkeepError` becomes one sentence on stderr and exit code 2.
"""

import os
import select
import sys
from collections.abc import Sequence
from functools import cached_property
from io import StringIO
from typing import Any

import click

from quantkeep.cli.commands import COMMANDS
from quantkeep.cli.plugins import Plugins
from quantkeep.cli.saying import warnings_said
from quantkeep.cli.sentences import sentence, without_secrets

GOOD, COULD_NOT = 0, 2
INTERRUPTED = 130  # as shells say it

HELP = """\
Look into the keeps of trading systems: sessions and trades, predictions, backtests, what was
learned from them, and health.
"""
EPILOG = """\
\b
Examples:
  quantkeep demo                                  a run on real prices, killed and resumed
  quantkeep doctor sqlite:///bot.db               is this keep well?
  quantkeep trades sqlite:///bot.db --limit 20
  quantkeep equity --since 7d --output equity.csv

\b
URL names the keep: sqlite:///bot.db (relative), sqlite:////srv/bot.db (absolute), or any that
`quantkeep backends` shows. Without it QUANTKEEP_URL and quantkeep.toml are asked.

\b
Exit codes: 0 good; 1 the answer is no (problems found); 2 it could not be run.
"""


class ReaderLeftError(Exception):
    """A pipe broke; as a rule stdout, whose reader has seen enough."""


class CommandLine(click.Group):
    """Commands of core, and those of plugins, which are imported only when they are asked for."""

    @cached_property
    def _plugins(self) -> Plugins:
        return Plugins()

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ReaderLeftError from error  # click would end the process with 1, which means "no"

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._plugins.names()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or self._plugins.find(cmd_name)


def command_line() -> click.Group:
    """The ``quantkeep`` command with all its commands."""
    group = CommandLine(
        "quantkeep",
        commands=list(COMMANDS),
        help=HELP,
        epilog=EPILOG,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    return click.version_option(package_name="quantkeep", message="quantkeep %(version)s")(group)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command that *arguments* name; the exit code. Prints no secrets."""
    _survive_narrow_encodings()
    try:
        with warnings_said():
            code = command_line().main(arguments, prog_name="quantkeep", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        return _misused(error)
    except (click.Abort, KeyboardInterrupt):
        return _failed("interrupted", INTERRUPTED)
    except Exception as error:
        if isinstance(error, ReaderLeftError | BrokenPipeError) and _reader_left():
            return GOOD
        if os.environ.get("QUANTKEEP_TRACEBACK"):
            raise
        return _failed(sentence(error), COULD_NOT)
    return code if isinstance(code, int) else GOOD


def _misused(error: click.ClickException) -> int:
    said = StringIO()
    error.show(said)
    click.echo(without_secrets(said.getvalue()), err=True, nl=False)
    return COULD_NOT


def _failed(said: str, code: int) -> int:
    click.echo(f"quantkeep: {said}", err=True)
    return code


def _reader_left() -> bool:
    """Whether nobody reads stdout any more: ``quantkeep trades | head`` is no failure."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    left = any(event & select.POLLERR for _, event in poll.poll(0))
    if left:  # or Python would complain as it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return left


def _survive_narrow_encodings() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
