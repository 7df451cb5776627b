"""``quantkeep import KIND PATH --to URL``: what other programs wrote, brought into a keep."""

from functools import cached_property

import click

from quantkeep.cli.options import examples
from quantkeep.cli.plugins import Plugins

HELP = """Bring what other programs wrote into a keep.

KIND says what is at PATH; plugins bring the kinds. Importing is idempotent: what is there already
adds nothing, so that an import that was interrupted is simply made again.
"""


class Importers(click.Group):
    """The kinds that plugins can import; those are imported only when they are asked for."""

    @cached_property
    def _plugins(self) -> Plugins:
        return Plugins("quantkeep_importers")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._plugins.names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._plugins.find(cmd_name)


imports = Importers(
    "import",
    help=HELP,
    epilog=examples(
        "import backtest-results runs/vectorbt --to sqlite:///research.db",
        "import research-run runs/2025-01-17 --to sqlite:///research.db",
        "import predictions predictions/2025 --to sqlite:///mara.db",
    ),
    subcommand_metavar="KIND PATH --to URL",
)
