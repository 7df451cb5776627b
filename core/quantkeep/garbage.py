"""What no record refers to any more: pieces of blobs that may go.

A piece stays if any document of any collection of the keep refers to it, those of other programs
included, or if it was staged lately: whoever staged it may be about to refer to it.
"""

import json
from collections.abc import Container, Iterator
from datetime import datetime
from typing import Final

from quantkeep import schema
from quantkeep.backend import Backend
from quantkeep.blobs import BlobRef
from quantkeep.collection import Collection, Key
from quantkeep.columns import Kind, microseconds
from quantkeep.failpoints import passing
from quantkeep.progress import counted
from quantkeep.query import Query

_MARK: Final = '"blob":'  # in every canonical document that refers to one


def collect(
    backend: Backend,
    *,
    staged_before: datetime,
    dry_run: bool = False,
    passing_over: Container[tuple[str, Key]] = (),
) -> int:
    """Remove the pieces that nothing refers to and that were last staged before an instant.

    Args:
        backend: whose.
        staged_before: the end of the grace period, which is longer than any save or read takes.
        dry_run: only count them.
        passing_over: records, by collection and key, whose references do not count.

    Returns:
        How many pieces were removed, or would be.
    """
    found = unreferenced(backend, staged_before=staged_before, passing_over=passing_over)
    if not dry_run:
        for digest in counted(found, "removing pieces of blobs", len(found)):
            passing("garbage.delete")
            backend.delete_blob(digest, staged_before=microseconds(staged_before))
    return len(found)


def unreferenced(
    backend: Backend, *, staged_before: datetime, passing_over: Container[tuple[str, Key]] = ()
) -> list[str]:
    """What :func:`collect` would remove."""
    bound = microseconds(staged_before)
    # Listed before references are looked for: what is staged afterwards is not in it.
    old = {digest for digest, staged in backend.list_blobs() if staged < bound}
    return sorted(old.difference(_referenced(backend, passing_over)) if old else old)


def references(
    backend: Backend, passing_over: Container[tuple[str, Key]] = ()
) -> Iterator[BlobRef]:
    """Every reference to a blob, in whichever document of whichever collection."""
    description = backend.description()
    for collection in schema.understand(description) if description else ():
        for document in _documents(backend, collection, passing_over):
            yield from BlobRef.find_in(json.loads(document))


def _referenced(backend: Backend, passing_over: Container[tuple[str, Key]]) -> Iterator[str]:
    """Every piece that a document refers to."""
    for ref in references(backend, passing_over):
        yield from ref.chunks


def _documents(
    backend: Backend, collection: Collection, passing_over: Container[tuple[str, Key]]
) -> Iterator[str]:
    """Documents of a collection that may refer to a blob."""
    places = [place for place, c in enumerate(collection.columns) if c.kind is Kind.DOCUMENT]
    if not places:
        return
    rows = backend.scan(collection, Query())
    for stored in counted(rows, f"references of {collection.name}"):
        collection.verify(stored)  # a damaged record must not cost it its files
        if (collection.name, collection.stored_key(stored)) in passing_over:
            continue
        for place in places:
            document = stored.values[place]
            if isinstance(document, str) and _MARK in document:
                yield document
