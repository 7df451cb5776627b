"""What the commands on knowledge share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from quantkeep.columns import Column, Kind

if TYPE_CHECKING:
    from quantkeep.knowledge import KnowledgeStore

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def knowledge_at(url: str | None) -> "Iterator[KnowledgeStore]":
    """The knowledge of the keep at *url*, to be looked into."""
    import quantkeep

    with quantkeep.open(url, create=False, migrate=False, read_only=True) as keep:
        yield keep.knowledge


def top_option(command: F) -> F:
    """How many."""
    return click.option(
        "--top", "-n", type=click.IntRange(min=1), default=10, show_default=True, help="How many."
    )(command)


def document(name: str) -> Column:
    """A column of documents."""
    return Column(name=name, kind=Kind.DOCUMENT, nullable=True)
