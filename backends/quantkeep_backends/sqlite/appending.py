"""One live entry, the hot path: validated by core, then two statements in a transaction."""

import sqlite3

from quantkeep.batch import Outcome, Receipt
from quantkeep.collection import SealedRow
from quantkeep.errors import QuantkeepError, scrubbed
from quantkeep.failpoints import passing
from quantkeep_backends.sqlite.database import Database, undo
from quantkeep_backends.sqlite.errors import FAILURES
from quantkeep_backends.sqlite.operations import Operation, remember
from quantkeep_backends.sqlite.prepared import Prepared
from quantkeep_backends.sqlite.streams import Seen


def append_one(
    database: Database,
    prepared: Prepared,
    seen: Seen,
    row: SealedRow,
    now: int,
    operation: Operation | None,
) -> Receipt | None:
    """Append *row* behind the last revision this handle knows of.

    ``None``, and nothing was written, if the handle does not know the stream, if the stream has
    come further (or is shorter) since, if a constraint says no, or if the operation was made
    before: a transaction finds out which.
    """
    stream = seen.find(prepared.collection, prepared.collection.stream_of(row.values))
    if stream is None:
        return None
    turn = database.take_turn()
    writer: sqlite3.Connection | None = None
    try:
        writer = database.ready()
        passing("sqlite.append.begin")
        revision = stream.head + 1
        receipt = _receipt(revision, now, operation)
        writer.execute("BEGIN IMMEDIATE")
        known = (stream.number, stream.head, stream.text)
        if writer.execute(prepared.grow, known).rowcount != 1:
            return None
        if operation is not None:
            remember(writer, operation, receipt)
        entry = prepared.codec.entry(row, stream.first + revision, now)
        writer.execute(prepared.insert, entry)
        passing("sqlite.append.before_commit")
        writer.execute("COMMIT")
        stream.head = revision
        database.committed("append")
        database.checkpoint_sometimes(writer, 1)
    except sqlite3.IntegrityError:
        return None
    except QuantkeepError:
        raise
    except FAILURES as error:
        raise database.meaning(error) from scrubbed(error)
    finally:
        if writer is not None:
            undo(writer)
        turn.give()
    return receipt


def _receipt(revision: int, now: int, operation: Operation | None) -> Receipt:
    outcome = Outcome(range(revision, revision + 1), 1)
    return Receipt((outcome,), now, None if operation is None else operation[0])
