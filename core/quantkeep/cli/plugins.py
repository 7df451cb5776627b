"""Commands that plugins bring by a hook; a broken plugin is one warning."""

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

import click
import pluggy

from quantkeep import hookspecs
from quantkeep.cli.sentences import one_line


class Plugins:
    """What is installed in the group ``quantkeep.plugins``; each is imported once, and late.

    Args:
        hook: that gives their commands; ``quantkeep_commands`` or ``quantkeep_importers``.
    """

    def __init__(self, hook: str = "quantkeep_commands") -> None:
        self._hook = hook
        off = os.environ.get("QUANTKEEP_DISABLE_PLUGINS")
        entries = () if off else entry_points(group=hookspecs.PLUGINS)
        self._entries = {entry.name: entry for entry in entries}
        self._commands: dict[str, Mapping[str, click.Command]] = {}

    def names(self) -> Iterator[str]:
        """Names of the commands of all plugins."""
        for name in self._entries:
            yield from self._of(name)

    def find(self, command: str) -> click.Command | None:
        """The command of that name; a plugin of the same name is asked first."""
        for name in sorted(self._entries, key=lambda name: name != command):
            if command in self._of(name):
                return self._of(name)[command]
        return None

    def _of(self, name: str) -> Mapping[str, click.Command]:
        if name not in self._commands:
            commands = _commands_of(self._entries[name], self._hook)
            self._commands[name] = {command.name or name: command for command in commands}
        return self._commands[name]


def _commands_of(entry: EntryPoint, hook: str) -> list[click.Command]:
    try:
        return _asked(entry, hook)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever strangers' modules do
        why = one_line(f"{type(error).__name__}: {error}")
        click.echo(f"warning: plugin {entry.name!r} is broken and left out: {why}", err=True)
        return []


def _asked(entry: EntryPoint, hook: str) -> list[click.Command]:
    """Each plugin has a manager to itself: what one does cannot keep the others from answering."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(entry.load(), name=entry.name)
    commands = [command for several in getattr(manager.hook, hook)() for command in several]
    wrong = [command for command in commands if not isinstance(command, click.Command)]
    if wrong:
        raise TypeError(f"{hook} gave {wrong[0]!r}, expected click commands")
    return commands
