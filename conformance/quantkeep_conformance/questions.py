"""What a damaged keep is asked, one by one: each answer is right, or an error that says so."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs

from quantkeep import Corrupt, Keep, QuantkeepError, Record
from quantkeep.errors import FormatTooNew
from quantkeep_conformance.exactness import same, shown
from quantkeep_conformance.places import Place

OF_DAMAGE: Final = (Corrupt, FormatTooNew)  # the number of a format can be damaged as well
OPERATIONS: Final = "operations"


@attrs.frozen
class Question:
    """Something to ask of a keep.

    Attributes:
        about: the collection whose records the answer is made of, or :data:`OPERATIONS`.
        words: the question, for a message.
        put: asks it.
        right: what the sound keep answers.
    """

    about: str
    words: str
    put: Callable[[Keep], Any]
    right: Any


@attrs.frozen
class Answers:
    """What became of many questions.

    Attributes:
        damaged: the name of the file that is.
        wrong: answers that are not right, in words.
        unfit: errors that do not say that something is damaged, and where, in words.
        closed: what was not answered, see :attr:`Question.about`, with the first error.
    """

    damaged: str
    wrong: list[str] = attrs.field(factory=list)
    unfit: list[str] = attrs.field(factory=list)
    closed: dict[str, QuantkeepError] = attrs.field(factory=dict)

    def judge(self, question: Question, keep: Keep) -> None:
        """Put one question to *keep*."""
        try:
            answer = question.put(keep)
        except QuantkeepError as error:
            self.refused(question, error)
        except Exception as error:  # noqa: BLE001  # whatever a driver raises, the others are asked too
            self.unfit.append(f"{question.words}: {error!r} is no typed error")
        else:
            if not same(answer, question.right):
                said = f"{shown(answer)} instead of {shown(question.right)}"
                self.wrong.append(f"{question.words}: {said}")

    def refused(self, question: Question, error: QuantkeepError) -> None:
        """Take note that a question was not answered."""
        self.closed.setdefault(question.about, error)
        if not isinstance(error, OF_DAMAGE):
            self.unfit.append(f"{question.words}: damage was reported as {error!r}")
        elif isinstance(error, Corrupt) and not self._says_where(error, question):
            where = f"is at {error.locator!r}, which is neither {self.damaged} nor a record's key"
            self.unfit.append(f"{question.words}: {error!r} {where}")

    def excused(self) -> "Answers":
        """The same, without the answers that are wrong."""
        return attrs.evolve(self, wrong=[])

    def _says_where(self, error: Corrupt, question: Question) -> bool:
        return any(name in (error.locator or "") for name in (self.damaged, question.about))


def questions(keep: Keep, *kinds: type[Record], op_ids: Sequence[str] = ()) -> list[Question]:
    """Questions on all that a sound *keep* has of *kinds*, and on what came of *op_ids*."""
    asked = [question for kind in kinds for question in _about(keep, kind)]
    return asked + [
        Question(OPERATIONS, f"resolve({op_id!r})", resolve, resolve(keep))
        for op_id in op_ids
        for resolve in [partial(Keep.resolve, op_id=op_id)]
    ]


def _about(keep: Keep, kind: type[Record]) -> Iterator[Question]:
    """Each record by its key, all of them in a listing, and their number."""
    name, table = kind.collection.name, keep.table(kind)
    for record in table.scan():
        key = _key(record)
        yield Question(name, f"{name} {key!r}", partial(_get, kind, key), _plain(record))
    yield Question(name, f"all of {name}", partial(_all, kind), _all(kind, keep))
    yield Question(name, f"the number of {name}", partial(_count, kind), table.count())


def _key(record: Record) -> tuple[Any, ...]:
    names = record.collection.key_columns
    return tuple(record.revision if n == "revision" else getattr(record, n) for n in names)


def _get(kind: type[Record], key: tuple[Any, ...], keep: Keep) -> Any:
    found = keep.table(kind).get(*key)
    return None if found is None else _plain(found)


def _all(kind: type[Record], keep: Keep) -> list[Any]:
    return [*map(_plain, keep.table(kind).scan())]


def _count(kind: type[Record], keep: Keep) -> int:
    return keep.table(kind).count()


def _plain(record: Record) -> tuple[Any, ...]:
    """The fields of *record*, and its revision and stamps."""
    return record.as_dict(), record.envelope


def ask(place: Place, asked: Sequence[Question], damaged: Path, **opening: Any) -> Answers:
    """Open the keep at *place*, of which one file is *damaged*, and ask it everything.

    It is asked twice, there and back, whatever was wrong before: an error may have left something
    half read.
    """
    answers = Answers(damaged.name)
    try:
        keep = place.open(**opening)
    except QuantkeepError as error:
        for question in asked:
            answers.refused(question, error)
        return answers
    with keep:
        for question in (*asked, *reversed(asked)):
            answers.judge(question, keep)
    return answers
