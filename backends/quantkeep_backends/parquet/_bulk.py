"""Large appends: rows that become segments, before the commit that makes them visible."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from operator import length_hint
from typing import Final, Protocol

import pyarrow as pa

from quantkeep.batch import Append, Outcome
from quantkeep.collection import Collection
from quantkeep_backends.parquet._given import Given
from quantkeep_backends.parquet._novelty import Question, resolved
from quantkeep_backends.parquet._numbers import Numbers
from quantkeep_backends.parquet._segments import Segment, portions
from quantkeep_backends.parquet._shelf import LogShelf

LARGE: Final = 1_000  # rows: from here on, a file of their own costs less than the log


class Write(Protocol):
    """What writes segments, each when it is asked for."""

    def __call__(
        self, collection: Collection, tables: Iterable[pa.Table], whole: Append | None
    ) -> Generator[Segment]:
        """A segment for each of *tables*, which are of *collection*, in order.

        *whole* is the append of which these are all rows: in another try to commit it they are the
        same, if they get the same revisions.
        """
        ...


def is_large(append: Append, shelf: LogShelf) -> bool:
    """Whether the rows are better kept in segments than in the log."""
    return not shelf.collection.references and length_hint(append.rows) >= LARGE


def append(shelf: LogShelf, write: Append, now: int, write_segments: Write) -> Outcome:
    """Append the rows of *write* that are new, in segments of their own.

    Most often all of them are: they are written while another thread looks whether they are.

    Raises:
        AlreadyExists: a row's identity is stored with other content.
        InvalidValue: a record is refused that was to be looked at while it is written.
    """
    given, numbers = Given(write, shelf.collection, now), Numbers(shelf)
    with Question(shelf, given) as question:
        tables = _tables(shelf.collection, given, numbers, question)
        segments = _while_new(write_segments(shelf.collection, tables, write), question)
        hashes = question.answer()
    if hashes is None:
        return _rest_added(shelf, given, write_segments)
    shelf.join(segments)
    for group, values in hashes.items():
        shelf.learn(group, segments, values)
    return Outcome(numbers.given, len(numbers.given))


def _tables(
    collection: Collection, given: Given, numbers: Numbers, question: Question
) -> Iterator[pa.Table]:
    """The tables of the segments; the *question* is asked when all that is *given* is known."""
    for columns in given.parts():
        yield from portions(columns.numbered(collection, numbers.next(columns.table)))
    question.ask()


def _while_new(written: Generator[Segment], question: Question) -> list[Segment]:
    """The segments that are *written*; no more of them once it is known that not all is new."""
    segments = list[Segment]()
    with closing(written):
        for segment in written:
            segments.append(segment)
            if question.is_denied:
                break
    return segments


def _rest_added(shelf: LogShelf, given: Given, write_segments: Write) -> Outcome:
    """Append the rows that are not there already."""
    fresh, places = resolved(shelf, given)
    if not fresh:
        return Outcome([-place for place in places], 0)
    rest, numbers = given.whole().taken(fresh), Numbers(shelf)
    table = rest.numbered(shelf.collection, numbers.next(rest.table))
    shelf.join([*write_segments(shelf.collection, portions(table), None)])
    return Outcome([-p if p < 0 else numbers.given[p] for p in places], len(fresh))
