"""A commit as a line of the journal: a heading, and what was done.

Each of the two stands behind the CRC-32 of its bytes. The heading says how long the rest is and
what it touches, so that this is known where the rest is damaged. Lines of format 1 have none.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from quantkeep.batch import Receipt
from quantkeep.collection import Collection
from quantkeep.model import Effect, Removed, Stored
from quantkeep_backends.json._lines import Damaged, Shape, dumps, read_key, write_key

BEGIN: Final = b'{"effects":['  # in a text of JSON it cannot be: quotes are escaped there
CHECKED: Final = 9  # bytes of a checksum and the space behind it
_BEGIN: Final = BEGIN.decode()
_END: Final = '],"n":'
_text: Final = json.encoder.encode_basestring  # with its quotes
_decode: Final = json.JSONDecoder().raw_decode


class Operation(NamedTuple):
    """What is remembered of an operation id."""

    op_id: str
    digest: bytes
    receipt: str


class Entry(NamedTuple):
    """One commit of the journal; of one that is read, the effects are understood one by one."""

    number: int
    effects: Iterable[Effect]
    operation: Operation | None


def proof(data: bytes) -> bytes:
    """What stands before *data* in a line."""
    return b"%08x " % zlib.crc32(data)


def unchecked(line: bytes) -> str:
    """What was done, of a line without its line feed; raises :class:`Damaged`."""
    begin = line.find(BEGIN)
    if begin < CHECKED:
        raise Damaged("it is no commit")
    heading, checksum, data = line[: begin - CHECKED], line[begin - CHECKED : begin], line[begin:]
    if checksum != proof(data):
        raise Damaged("its checksum does not match")
    if heading and (heading[:CHECKED] != proof(heading[CHECKED:-1]) or heading[-1:] != b" "):
        raise Damaged("the checksum of its heading does not match")
    return data.decode()


class Language:
    """Writes and reads entries of a journal, given the collections they speak of.

    Args:
        headed: whether the lines have headings; all are read.
    """

    def __init__(self, collections: Mapping[str, Collection], *, headed: bool = True) -> None:
        self.shapes = {name: Shape(c) for name, c in collections.items()}
        self._headed = headed

    def line(self, entry: Entry) -> bytes:
        """*entry* as a checked line."""
        done, operation = [*entry.effects], ""
        if entry.operation is not None:
            op_id, digest, receipt = entry.operation
            said = {"id": op_id, "digest": digest.hex(), "receipt": receipt}
            operation = f',"operation":{dumps(said)}'
        effects = ",".join([*map(self._effect, done)])
        data = f"{_BEGIN}{effects}{_END}{entry.number}{operation}}}".encode()
        heading = _heading(entry, done, len(data)) if self._headed else b""
        return b"%s%s%s\n" % (heading, proof(data), data)

    def entry(self, line: bytes) -> Entry:
        """The entry of a line; raises :class:`Damaged`, and its effects do when they are asked."""
        text = unchecked(line)
        end = text.rfind(_END)  # only the operation follows, whose values are texts
        if end < 0:
            raise Damaged("it is no commit")
        try:
            said = json.loads("{" + text[end + 2 :])
            return Entry(said["n"], self._effects(text, end), _operation(said.get("operation")))
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(str(error)) from None

    def _effects(self, text: str, end: int) -> Iterator[Effect]:
        """The effects in *text*, up to *end*; so that of a large commit few are held twice."""
        place = len(_BEGIN)
        while place < end:
            try:
                said, place = _decode(text, place)
                effect = self._understood(said)
            except (KeyError, TypeError, ValueError) as error:
                raise Damaged(str(error)) from None
            yield effect
            place += 1  # the comma

    def _effect(self, effect: Effect) -> str:
        if isinstance(effect, Stored):
            record = self.shapes[effect.collection].record(effect.row)
            return f"[{_text(effect.collection)},{record}]"
        return dumps([effect.collection, None, write_key(effect.key)])

    def _understood(self, said: list[Any]) -> Effect:
        name, record, *rest = said
        if record is None:
            return Removed(name, read_key(rest[0]))
        return Stored(name, self.shapes[name].row(record))


def _heading(entry: Entry, effects: list[Effect], size: int) -> bytes:
    touches = ",".join([_text(name) for name in dict.fromkeys([e.collection for e in effects])])
    operation = f'"operation":{_text(entry.operation.op_id)},' if entry.operation else ""
    text = f'{{"bytes":{size},"n":{entry.number},{operation}"touches":[{touches}]}}'.encode()
    return b"%s%s " % (proof(text), text)


def _operation(said: Mapping[str, str] | None) -> Operation | None:
    if said is None:
        return None
    return Operation(said["id"], bytes.fromhex(said["digest"]), said["receipt"])


def remembered(operation: Operation) -> tuple[bytes, Receipt]:
    """What a model remembers of *operation*."""
    return operation.digest, Receipt.from_json(operation.receipt, operation.op_id)
