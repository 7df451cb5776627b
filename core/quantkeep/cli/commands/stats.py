"""``quantkeep stats``: how much is in a keep (CODEX-23)."""

from collections.abc import Iterator

import click

from quantkeep.cli.listing import Listing, integer, text
from quantkeep.cli.options import Output, examples, output_options, url_argument
from quantkeep.cli.stored import Part, stored_keep
from quantkeep.columns import Row

COLUMNS = (
    text("collection"),
    *map(integer, ("rows", "streams", "writes")),
    text("about"),
)


@click.command(epilog=examples("stats sqlite:///bot.db", "stats --format json"))
@url_argument
@output_options
def stats(url: str | None, out: Output) -> None:
    """Count what is in a keep.

    Rows of each collection, the streams it is numbered in (a stream of the tape is one account in
    one mode), and the writes those streams have seen.
    """
    with stored_keep(url) as keep:
        rows = [row for part in keep.parts for row in _rows(part)]
        total = sum(part.backend.sizes().get("bytes", 0) for part in keep.parts)
    caption = f"{total:,} bytes" if total else None
    out.show(Listing(title="Collections", columns=COLUMNS, rows=rows, caption=caption))


def _rows(part: Part) -> Iterator[Row]:
    sizes = part.backend.sizes()
    for name, collection in sorted(part.collections.items()):
        heads = part.backend.heads(collection)
        about = collection.doc.partition("\n")[0]
        yield name, sizes.get(name, 0), len(heads), sum(head.revision for head in heads), about
