"""``quantkeep upgrade``: a keep of an older schema gets what this version has."""

from collections.abc import Iterator, Mapping

import click

import quantkeep
from quantkeep.cli.listing import Listing, text
from quantkeep.cli.options import Output, examples, output_options, url_argument
from quantkeep.cli.stored import stored_keep
from quantkeep.collection import Collection
from quantkeep.columns import Row

COLUMNS = (text("place"), text("collection"), text("added"))
Schemas = Mapping[str, Mapping[str, Collection]]  # by place, and by name


@click.command(epilog=examples("upgrade sqlite:///bot.db", "upgrade"))
@url_argument
@output_options
def upgrade(url: str | None, out: Output) -> None:
    """Give a keep the collections, columns and indexes of this version.

    Only adds: what is stored stays as it is, and programs of the version before go on. Opening a
    keep does the same, unless the program says migrate=False or reads only.
    """
    before = _schemas(url, writable=True)  # a fallback is not upgraded in the place of another
    quantkeep.open(url, create=False).close()
    rows = _added(before, _schemas(url))
    out.show(Listing(title="Added", columns=COLUMNS, rows=rows))


def _schemas(url: str | None, *, writable: bool = False) -> Schemas:
    with stored_keep(url, writable=writable) as keep:
        return {str(part.url): part.collections for part in keep.parts}


def _added(before: Schemas, after: Schemas) -> Iterator[Row]:
    for place, collections in after.items():
        for name, collection in sorted(collections.items()):
            for what in _differences(before[place].get(name), collection):
                yield place, name, what


def _differences(before: Collection | None, after: Collection) -> Iterator[str]:
    if before is None:
        yield "the collection"
        return
    for column in after.columns:
        if column.name not in before.places:
            yield f"column {column.name}"
        elif more := sorted({*column.choices} - {*before.column(column.name).choices}):
            yield f"choices of {column.name}: {', '.join(more)}"
    yield from (
        f"index on {', '.join(i.columns)}" for i in after.indexes if i not in before.indexes
    )
