"""Clauses: what the kit checks, one by one, each under a name that does not change.

A clause is a test function of a suite. Its id is the suite's family and the function's name
(``listing.newest_n_ascending``), its sentence the first line of the docstring.
"""

import enum
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeVar

import attrs

from quantkeep import Capability, Durability


class Facility(enum.Enum):
    """What a clause needs for its check, and a backend may lack without promising less."""

    BACKDOOR = "a backdoor to its stored bytes"
    BACKUP = "files that can be copied and put back"
    VERIFIED_FILES = "files of which damage is found, by verify at the latest"
    CHECKED_FILES = "files of which every byte is checked"
    DIVIDED_FILES = "files of which damage closes only what it touched"
    SERVER = "a server of its own, to be stopped"
    FILES_OF_SERVER = "a server of its own, to be killed and started again"


Need = Capability | Durability | Facility
Test = TypeVar("Test", bound=Callable[..., Any])

_NEEDS = "__quantkeep_needs__"
_BROAD = "__quantkeep_broad__"


class Suite:
    """A family of clauses; a test class with a ``store_url`` fixture makes them run.

    Attributes:
        family: the first part of their ids.
        built_on_others: whether all of them are :func:`broad`.
    """

    family: ClassVar[str]
    built_on_others: ClassVar[bool] = False


def requires(*needs: Need) -> Callable[[Test], Test]:
    """Mark a clause that holds only where all of *needs* are claimed."""

    def mark(test: Test) -> Test:
        setattr(test, _NEEDS, needs)
        return test

    return mark


def broad(test: Test) -> Test:
    """Mark a clause that looks at everything at once.

    What breaks another clause may break it too, so it does not tell where a fault is.
    """
    setattr(test, _BROAD, True)
    return test


@attrs.frozen
class Clause:
    """One promise.

    Attributes:
        id: stable; reports name it.
        sentence: what is promised.
        needs: what must be claimed for the promise to be made.
        broad: see :func:`broad`.
    """

    id: str
    sentence: str
    needs: tuple[Need, ...] = ()
    broad: bool = False

    @classmethod
    def of(cls, suite: type, test: Callable[..., Any]) -> "Clause | None":
        """The clause that the function *test* of the class *suite* is, if it is one."""
        if not issubclass(suite, Suite):
            return None
        sentence = (test.__doc__ or test.__name__).strip().partition("\n\n")[0]
        return cls(
            f"{suite.family}.{test.__name__.removeprefix('test_')}",
            " ".join(sentence.split()),
            getattr(test, _NEEDS, ()),
            suite.built_on_others or getattr(test, _BROAD, False),
        )


def clauses_of(suite: type[Suite]) -> Iterator[Clause]:
    """The clauses of one suite, in the order in which they are written."""
    for name, test in vars(suite).items():
        clause = Clause.of(suite, test) if name.startswith("test_") else None
        if clause is not None:
            yield clause


def need_in_words(need: Need) -> str:
    """How a report names what was not claimed."""
    if isinstance(need, Facility):
        return need.value
    if isinstance(need, Durability):
        return f"durability {need.name.lower()}"
    return " and ".join(name_of(flag) for flag in need)


def name_of(capability: Capability) -> str:
    """The name of one capability, in lower case."""
    return (capability.name or "none").lower()
