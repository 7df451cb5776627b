"""Compaction: the journal folded into plain files of records, as a new generation.

A reader that is in the old generation finds the new one by its heading; the old files stay until
the next compaction, for readers that have just begun on them.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from quantkeep.collection import Key
from quantkeep.errors import Corrupt, QuantkeepError, Regression, Unavailable
from quantkeep.failpoints import passing
from quantkeep.model import HeldShelf, Model
from quantkeep.progress import counted
from quantkeep_backends._files import durable
from quantkeep_backends.json._damage import OPERATIONS, Harm, Harms, stamp
from quantkeep_backends.json._entries import Language, Operation, remembered
from quantkeep_backends.json._folder import Folder, Heading, is_unfinished
from quantkeep_backends.json._lines import Damaged, Shape, corrupt, dumps, read_key, write_key

_OPERATIONS: Final = "operations.jsonl"


def write(folder: Folder, generation: int, model: Model) -> tuple[str, ...]:
    """Write *model* as the records of *generation*, with an empty journal behind them.

    The names of the files are returned: there is none for what is empty.
    """
    discard(folder, generation)
    written = _write_records(folder.records(generation), model)
    passing("json.compact.journal")
    durable.replace(folder.journal(generation), b"")
    return written


def discard(folder: Folder, generation: int) -> None:
    """Take away what is there of the records of *generation*, which no heading names."""
    records = folder.records(generation)
    if records.exists():
        shutil.rmtree(records)


def _write_records(records: Path, model: Model) -> tuple[str, ...]:
    durable.make_folder(records)
    held = {name: shelf for name, shelf in model.shelves.items() if shelf.heads}
    for name, shelf in counted(held.items(), "writing collections", len(held)):
        passing("json.compact.collection")
        durable.create(records / file_of(name), _file(_shelf_lines(shelf)))
    operations = [Operation(i, d, r.to_json()) for i, (d, r) in model.operations.items()]
    lines = (dumps([o.op_id, o.digest.hex(), o.receipt]) for o in operations)
    durable.create(records / _OPERATIONS, _file(lines))
    durable.sync_folder(records)
    return (*map(file_of, held), _OPERATIONS)


def read(folder: Folder, heading: Heading, model: Model, language: Language) -> Harms:
    """Fill *model* with the records of a generation.

    A harm names the file and the line, and is a :class:`Regression` where the file is gone.
    """
    harms = Harms()
    if not model.shelves:
        return harms  # a keep that was just made: its first collections begin another generation
    records, files = folder.records(heading.generation), heading.files
    held = {n: s for n, s in model.shelves.items() if files is None or file_of(n) in files}
    for name, shelf in counted(held.items(), "reading collections", len(held)):
        path = records / file_of(name)
        with _taking_note(harms, path, name):
            _read_shelf(shelf, language.shapes[name], path)
    with _taking_note(harms, records / _OPERATIONS, OPERATIONS):
        _read_operations(model, records / _OPERATIONS)
    return harms


@contextmanager
def _taking_note(harms: Harms, path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except Corrupt as error:
        harms.add(Harm(error, lambda: stamp(path), frozenset({name})))
    except Unavailable as error:
        harms.add(Harm(error, lambda: _is_readable(path), frozenset({name})))


def _is_readable(path: Path) -> bool:
    """Whether all of a file can be read; a disk says so no earlier."""
    try:
        return durable.read(path) is not None
    except QuantkeepError:
        return False


def _read_shelf(shelf: HeldShelf, shape: Shape, path: Path) -> None:
    for number, line in lines_of(path, shape):
        _take(shelf, shape, line, path, number)


def _read_operations(model: Model, path: Path) -> None:
    operations = {}
    for number, line in lines_of(path, None):
        try:
            op_id, digest, receipt = json.loads(line)
            operations[op_id] = remembered(Operation(op_id, bytes.fromhex(digest), receipt))
        except (ValueError, TypeError, KeyError) as error:
            raise corrupt(path, number, error) from None
    model.operations.update(operations)  # now that they are proved


def file_of(name: str) -> str:
    """The name of the file of a collection."""
    return "operations.records.jsonl" if name == "operations" else f"{name}.jsonl"


def sweep(folder: Folder, generation: int) -> None:
    """Remove generations older than the one before *generation*, and unfinished newer ones."""
    keep = {generation, generation - 1}
    for path in folder.path.iterdir():
        found = folder.generation_of(path.name)
        if is_unfinished(path.name) or (found is not None and found not in keep):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in folder.path.glob("blobs/??/.*.tmp"):
        path.unlink()  # whoever stages holds the lock too: nobody is at it


def _shelf_lines(shelf: HeldShelf) -> Iterator[str]:
    """First the heads of the streams, then each record in order of its key."""
    shape = Shape(shelf.collection)
    yield dumps({"heads": [[write_key(stream), head] for stream, head in sorted(
        shelf.heads.items(), key=repr
    )]})  # fmt: skip
    for key in sorted(shelf.rows, key=_order):
        yield shape.record(shelf.rows[key])


def _order(key: Key) -> tuple[tuple[str, Any], ...]:
    return tuple((type(part).__name__, part) for part in key)


def _file(lines: Iterator[str]) -> bytes:
    """The lines, and a last one that proves them."""
    written = [line.encode() + b"\n" for line in lines]
    digest = sha256()
    for line in written:
        digest.update(line)
    return b"".join([*written, _proof(len(written), digest.hexdigest())])


def _proof(lines: int, digest: str) -> bytes:
    return dumps({"lines": lines, "sha256": digest}).encode() + b"\n"


def lines_of(path: Path, shape: Shape | None) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, which are proved only once the last one was read."""
    with durable.reading(path) as file:
        if file is None:
            raise Regression(f"{path} is gone: restore the folder from a backup", locator=str(path))
        seen, number, last = sha256(), 0, b""
        for line in file:
            if last:
                seen.update(last)
                number += 1
                yield number, last.removesuffix(b"\n")
            last = line
    if last != _proof(number, seen.hexdigest()):
        raise _hand_edited(path, durable.read(path) or b"", shape)


def _hand_edited(path: Path, data: bytes, shape: Shape | None) -> Corrupt:
    """Find the line that was changed, if one can be told from its own content."""
    lines = data.removesuffix(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            said = json.loads(line)
            if shape is not None and "record" in said:
                shape.collection.verify(shape.row(said))
        except Corrupt:
            return corrupt(path, number, "its record does not match its digest")
        except (ValueError, TypeError) as error:
            return corrupt(path, number, error)
    return corrupt(path, len(lines), "it does not prove the lines above it")


def _take(shelf: HeldShelf, shape: Shape, line: bytes, path: Path, number: int) -> None:
    try:
        said = json.loads(line)
        if "heads" in said:
            shelf.heads.update({read_key(stream): head for stream, head in said["heads"]})
        else:
            shelf.add(shape.row(said))
    except (Damaged, ValueError, TypeError) as error:
        raise corrupt(path, number, error) from None
