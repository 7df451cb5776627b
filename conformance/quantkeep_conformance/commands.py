"""``quantkeep conformance URL``: the kit from the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from quantkeep import hookimpl


@hookimpl
def quantkeep_commands() -> Sequence[Any]:
    """Join the command line."""
    return [conformance]


@click.command(
    epilog="""\b
Examples:
  quantkeep conformance sqlite:///bot.db
  quantkeep conformance memory:// -k "listing or values.nan"
  quantkeep conformance redis://localhost --json report.json --rounds 20
  quantkeep conformance --server postgresql

Exit codes: 0 every claimed clause holds; 1 clauses failed; 2 it could not be run."""
)
@click.argument("url", required=False)
@click.option(
    "--server",
    metavar="NAME",
    help="Start this server, and check the backend there: postgresql, redis, valkey, s3 or "
    "module:attribute.",
)
@click.option(
    "--server-setting",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Added to the server's configuration.",
)
@click.option(
    "--json", "file", type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE", help="Write the report there, for machines.",
)  # fmt: skip
@click.option("-k", "select", metavar="EXPR", help="Only these clauses: 'listing and not cursor'.")
@click.option(
    "--rounds", type=click.FloatRange(0, min_open=True), default=1, help="Times the usual effort."
)
@click.option("--seed", type=int, help="Draw as the run that printed this seed.")
@click.option(
    "--plugin", "plugins", multiple=True, metavar="NAME",
    help="A plugin to take along: an installed one's name, or module:attribute.",
)  # fmt: skip
@click.pass_context
def conformance(
    ctx: click.Context,
    url: str | None,
    server: str | None,
    settings: Sequence[str],
    file: Path | None,
    select: str | None,
    rounds: float,
    seed: int | None,
    plugins: Sequence[str],
) -> None:
    """Check that a backend keeps the guarantees, clause by clause.

    URL names the backend. The kit works in places of its own beside it, and does not touch what is
    stored there. With --server it starts a server, and then also checks what survives when that is
    stopped and killed; {url} in URL is that server's. Clauses that need what the backend does not
    claim are listed as not claimed.
    """
    if not url and not server:
        raise click.UsageError("give a URL, or --server NAME")
    try:
        from quantkeep_conformance.running import NothingSelected
        from quantkeep_conformance.servers import ServerUnavailable
        from quantkeep_conformance.showing import shown_while
    except ModuleNotFoundError as error:
        if error.name not in ("pytest", "hypothesis"):
            raise
        raise click.ClickException(
            f"the kit needs {error.name}: pip install 'quantkeep[conformance]'"
        ) from error
    try:
        report = shown_while(
            url, server=server, settings=settings, plugins=plugins, rounds=rounds, seed=seed,
            select=select,
        )  # fmt: skip
    except (NothingSelected, ServerUnavailable) as error:
        raise click.ClickException(str(error)) from error
    if file is not None:
        file.write_text(report.to_json(), encoding="utf-8")
    ctx.exit(0 if report.conforms else 1)
