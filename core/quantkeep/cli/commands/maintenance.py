"""``quantkeep compact`` and ``quantkeep gc``: space given back."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import click

from quantkeep.backend import Garbage
from quantkeep.cli.listing import Listing, integer, text, timestamp
from quantkeep.cli.options import Age, Output, examples, output_options, url_argument
from quantkeep.cli.progress import bars
from quantkeep.cli.stored import Part, stored_keep
from quantkeep.columns import Row, instant, microseconds
from quantkeep.errors import Unsupported
from quantkeep.garbage import collect, unreferenced

COMPACTED = (text("place"), integer("bytes_before"), integer("bytes_after"), text("outcome"))
GARBAGE = (text("place"), text("what"), text("why"), integer("bytes"), timestamp("unused_since"))
BLOBS = "pieces of blobs"


@click.command(epilog=examples("compact json:///bot", "compact"))
@url_argument
@output_options
def compact(url: str | None, out: Output) -> None:
    """Rewrite a keep so that it is small, and quick to open.

    Safe beside running readers and writers. Space that readers may still be using is given back
    by `quantkeep gc`, later.
    """
    with stored_keep(url, writable=True) as keep, bars():
        rows = [_compacted(part) for part in keep.parts]
    out.show(Listing(title="Compaction", columns=COMPACTED, rows=rows))


def _compacted(part: Part) -> Row:
    before = part.backend.sizes().get("bytes")
    try:
        part.backend.compact()
    except Unsupported as error:
        return str(part.url), before, before, str(error)
    return str(part.url), before, part.backend.sizes().get("bytes"), "compacted"


@click.command(epilog=examples("gc json:///bot --dry-run", "gc --older-than 7d"))
@url_argument
@click.option(
    "--older-than",
    type=Age(),
    default="1d",
    show_default=True,
    help="Leave what was in use since: longer than any save or read takes.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@output_options
def gc(url: str | None, out: Output, *, older_than: timedelta, dry_run: bool) -> None:
    """Remove what nothing in a keep uses any more.

    Files that a compaction replaced or a crash left, and pieces of blobs that no record refers to.
    """  # fmt: skip
    with stored_keep(url, writable=not dry_run) as keep, bars():
        rows = [row for part in keep.parts for row in _removed(part, older_than, dry_run=dry_run)]
    removed = "would be removed" if dry_run else "removed"
    caption = f"{sum(int(row[3] or 0) for row in rows):,} bytes {removed}"
    out.show(Listing(title="Garbage", columns=GARBAGE, rows=rows, caption=caption))


def _removed(part: Part, older_than: timedelta, *, dry_run: bool) -> Iterator[Row]:
    before = instant(part.backend.now()) - older_than
    blobs = _blobs(part, before)
    if blobs is not None:
        yield blobs
    if not dry_run:
        collect(part.backend, staged_before=before)
    for found in _garbage(part, before, dry_run=dry_run):
        yield str(part.url), found.name, found.why, found.size, found.since


def _garbage(part: Part, before: datetime, *, dry_run: bool) -> Sequence[Garbage]:
    backend = part.backend
    return (backend.garbage if dry_run else backend.remove_garbage)(microseconds(before))


def _blobs(part: Part, before: datetime) -> Row | None:
    found = unreferenced(part.backend, staged_before=before)
    if not found:
        return None
    size = sum(map(part.backend.blob_size, found))
    return str(part.url), f"{len(found)} {BLOBS}", "no record refers to them", size, None
