"""``quantkeep verify``: is everything there as it was written?"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from typing import Final

import attrs
import click

from quantkeep.blobs import BlobRef, Blobs
from quantkeep.cli.listing import Listing, integer, text
from quantkeep.cli.options import Output, examples, output_options, url_argument
from quantkeep.cli.progress import bars
from quantkeep.cli.sentences import sentence
from quantkeep.cli.stored import Part, stored_keep
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.columns import Row
from quantkeep.errors import Corrupt, Unavailable
from quantkeep.garbage import references
from quantkeep.progress import counted
from quantkeep.query import Query

SPARSE: Final = ("session_snapshots",)  # retention keeps the newest good one, wherever it stands
COLUMNS = (text("checked"), integer("records"), integer("problems"), text("first_problem"))


EXAMPLES = examples(
    "verify sqlite:///bot.db", "verify && echo nothing is missing", "verify json:///bot --deep"
)


@click.command(epilog=EXAMPLES)
@url_argument
@click.option("--deep", is_flag=True, help="Read every stored byte, blobs included.")
@output_options
@click.pass_context
def verify(ctx: click.Context, url: str | None, out: Output, *, deep: bool) -> None:
    """Hold every record against its digest.

    Logs must be without gaps: a revision missing between the first and the last that was given is
    a lost entry. The engine's own integrity check is run too, because a damaged index can hide a
    record from a read. Every problem is a line on stderr, and makes the exit code 1.

    With --deep, the engine also reads what no query touches (old versions, logs), and every blob
    that a record refers to is held against its SHA-256.
    """
    with bars():
        checks = _verified(url, deep=deep)
    records, problems = sum(c.records for c in checks), sum(c.problems for c in checks)
    caption = f"{records:,} records, {problems or 'no'} problem{'' if problems == 1 else 's'}"
    if not all(check.was_made for check in checks):
        caption += "; the engine has no check of its own"
    rows = [check.row for check in checks if check.is_worth_a_line]
    out.show(Listing(title="Verify", columns=COLUMNS, rows=rows, caption=caption))
    if problems:
        ctx.exit(1)


@attrs.define
class Check:
    """What was found in one collection, or of one engine."""

    what: str
    records: int = 0
    problems: int = 0
    first: str | None = None
    was_made: bool = True

    def add(self, problem: str) -> None:
        """Say it at once: a large keep takes minutes."""
        self.problems += 1
        self.first = self.first or problem
        click.echo(f"problem: {problem}", err=True)

    @property
    def is_worth_a_line(self) -> bool:
        """Collections without records say nothing, nor do engines without a check."""
        if self.what in ("engine", "blobs"):
            return self.was_made
        return bool(self.records or self.problems)

    @property
    def row(self) -> Row:
        """As the listing shows it."""
        return self.what, self.records, self.problems, self.first


def _verified(url: str | None, *, deep: bool) -> list[Check]:
    checks: list[Check] = []
    try:
        with stored_keep(url) as keep:
            for part in keep.parts:
                sizes = cache(part.backend.sizes)  # takes long with some engines
                checks.extend(_records(part, each, sizes) for each in part.collections.values())
                checks.append(_engine(part, deep=deep))
                if deep:
                    checks.append(_blobs(part))
    except Corrupt as error:  # what it was asked for: a finding, not a failure
        checks.append(Check("keep"))
        checks[-1].add(sentence(error))
    return checks


def _engine(part: Part, *, deep: bool) -> Check:
    problems = part.backend.scrub() if deep else part.backend.check()
    check = Check("engine", was_made=problems is not None)
    for problem in problems or ():
        check.add(problem)
    return check


def _blobs(part: Part) -> Check:
    """Each once, however many records refer to it; counted are the references."""
    check, blobs, met = Check("blobs"), Blobs(part.backend), set()
    try:
        for ref in references(part.backend):
            check.records += 1
            if ref.digest not in met:
                met.add(ref.digest)
                _verify_blob(blobs, ref, check)
    except Corrupt as error:  # a record that refers to one cannot be read
        check.add(sentence(error))
    return check


def _verify_blob(blobs: Blobs, ref: BlobRef, check: Check) -> None:
    try:
        blobs.verify(ref)
    except Corrupt as error:
        check.add(sentence(error))


def _records(part: Part, collection: Collection, sizes: Callable[[], Mapping[str, int]]) -> Check:
    check = Check(collection.name)
    try:
        # heads before rows: what is appended meanwhile lies beyond them, and is no problem
        heads = {head.stream: head.revision for head in part.backend.heads(collection)}
        rows = counted(
            part.backend.scan(collection, Query()),
            collection.name,
            sizes().get(collection.name),
        )
        read = _digested(collection, rows, check)
        if collection.log and collection.name not in SPARSE:
            _dense(collection, read, heads, check)
        deque(read, maxlen=0)  # to the end
    except (Corrupt, Unavailable) as error:  # the engine cannot read on
        check.add(sentence(error))
    return check


def _digested(
    collection: Collection, rows: Iterable[StoredRow], check: Check
) -> Iterator[StoredRow]:
    for stored in rows:
        check.records += 1
        try:
            collection.verify(stored)
        except Corrupt as error:
            check.add(sentence(error))
        yield stored


def _dense(
    collection: Collection, rows: Iterable[StoredRow], heads: Mapping[Key, int], check: Check
) -> None:
    """Retention may have taken the oldest entries of a stream, and nothing else is missing."""
    for stream, entries in groupby(rows, lambda stored: collection.stream_of(stored.values)):
        last = None
        for stored in entries:
            if last is not None and stored.revision != last + 1:
                check.add(_missing(collection, stream, last + 1, stored.revision - 1))
            last = stored.revision
        if last is not None and last < heads.get(stream, 0):
            check.add(_missing(collection, stream, last + 1, heads[stream]))


def _missing(collection: Collection, stream: Key, first: int, last: int) -> str:
    said = f"entry {first} is" if first == last else f"entries {first} to {last} are"
    return f"{collection.name}{stream!r}: {said} missing"
