"""The four formats of a listing, each a module with the same ``write``, and where they go."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import click

from quantkeep.cli.formats import csv, json, parquet, table
from quantkeep.cli.listing import Listing

_TEXT: Final[Mapping[str, Callable[[Listing, IO[str]], None]]] = {
    "table": table.write,
    "json": json.write,
    "csv": csv.write,
}
FORMATS: Final = (*_TEXT, "parquet")


def show(listing: Listing, format: str | None, output: Path | None) -> None:  # noqa: A002
    """Write *listing* in *format*, to the file *output* or to stdout.

    Without a format the file's ending says it; otherwise it is a table.

    Raises:
        click.UsageError: Parquet without a file to go to.
    """
    chosen = format or _by_ending(output)
    if output is None and chosen == "parquet":
        raise click.UsageError("parquet is no text: say where it goes, --output FILE")
    if output is None:
        _write_text(listing, chosen, sys.stdout)
    elif chosen == "parquet":
        with _replaced(output) as place:
            parquet.write(listing, place)
    else:
        with _replaced(output) as place, place.open("w", encoding="utf-8", newline="") as file:
            _write_text(listing, chosen, file)


def _by_ending(output: Path | None) -> str:
    ending = output.suffix.removeprefix(".").lower() if output else ""
    return ending if ending in FORMATS else "table"


def _write_text(listing: Listing, chosen: str, out: IO[str]) -> None:
    _TEXT[chosen](listing, out)


@contextmanager
def _replaced(output: Path) -> Iterator[Path]:
    """Where to write so that *output* appears whole or not at all."""
    if output.exists() and not output.is_file():  # /dev/stdout, a pipe
        yield output
        return
    place = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield place
        place.replace(output)
    finally:
        place.unlink(missing_ok=True)
