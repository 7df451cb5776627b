"""What the commands of ``quantkeep import`` share.

@importer("backtest-results", epilog=examples("import backtest-results PATH --to URL"))
@click.option("--from", "kind")
def backtest_results(path, keep, kind):
    '''What its help says.'''
    done = import_backtests(path, keep, kind=kind)
    return Report(read=done.read, added=done.added, notes=done.notes)
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import click

from quantkeep.cli.listing import Listing, integer, text
from quantkeep.cli.options import Output, output_options


@attrs.frozen(kw_only=True)
class Report:
    """What an import did.

    Attributes:
        read: of the source, by kind.
        added: rows of the keep that are new.
        notes: what the source did not say, and what was taken instead.
    """

    read: Mapping[str, int]
    added: int
    notes: Sequence[str] = ()

    def listing(self, path: Path) -> Listing:
        """As it is shown."""
        caption = "\n".join((f"{self.added:,} new", *self.notes))
        return Listing(
            title=f"Import of {path}",
            columns=(text("read"), integer("count")),
            rows=[*self.read.items()],
            caption=caption,
        )


def importer(
    name: str, *, epilog: str | None = None
) -> Callable[[Callable[..., Report]], click.Command]:
    """Make a function of a path and an opened keep the command ``quantkeep import NAME``.

    Args:
        name: of the kind, in the plural: ``backtest-results``.
        epilog: examples.
    """

    def decorate(function: Callable[..., Report]) -> click.Command:
        def command(path: Path, to: str | None, out: Output, **options: Any) -> None:
            import quantkeep

            with quantkeep.open(to) as keep:
                report = function(path, keep, **options)
            out.show(report.listing(path))

        command.__doc__ = function.__doc__
        command.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]  # where click keeps options
        made: Any = output_options(command)
        for option in (_TO, _PATH):
            made = option(made)
        return click.command(name, epilog=epilog)(made)

    return decorate


_PATH = click.argument("path", type=click.Path(exists=True, path_type=Path))
_TO = click.option(
    "--to", metavar="URL",
    help="The keep, made if there is none; left out, QUANTKEEP_URL and quantkeep.toml are asked.",
)  # fmt: skip
