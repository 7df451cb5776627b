"""Backends that answer otherwise than they should where a file of theirs is damaged."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import attrs

from naive.fronts import Wrapper, caught_by
from quantkeep.backend import Health
from quantkeep.batch import Receipt
from quantkeep.collection import Collection, Key, StoredRow
from quantkeep.errors import Corrupt, NotFound
from quantkeep.query import Query, Tally

T = TypeVar("T")

FOUND = "files.flips_are_found"
REST = ("files.the_rest_is_readable", "files.the_rest_is_readable_once_compacted")
SILENT = ("files.flips_are_never_silent", "files.cuts_are_never_silent", *REST)


class Damaged(Wrapper):
    """In front of a backend that closes no more than it must."""

    def asked(self, about: str, ask: Callable[[], T], nothing: T) -> T:
        """The answer to a question on the collection *about*; *nothing*: that of an empty keep."""
        return ask()

    def get(self, collection: Collection, key: Key) -> StoredRow | None:
        return self.asked(collection.name, lambda: self.engine.get(collection, key), None)

    def scan(self, collection: Collection, query: Query) -> Iterator[StoredRow]:
        return iter(self.asked(collection.name, lambda: [*self.engine.scan(collection, query)], []))

    def tally(self, collection: Collection, tally: Tally) -> list[tuple[Any, ...]]:
        return self.asked(collection.name, lambda: self.engine.tally(collection, tally), [(0,)])

    def outcome(self, op_id: str) -> Receipt | None:
        return self.asked("", lambda: self.engine.outcome(op_id), None)


SOUND = caught_by()(Damaged)


@caught_by(*REST)
class looks_over_everything_when_opened(Damaged):
    """And refuses a keep of which anything is damaged."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        if complaints := engine.check():
            engine.close()
            raise Corrupt("this keep is damaged", locator=complaints[0])


@caught_by(*REST)
class answers_nothing_more_after_an_error(Damaged):
    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.met: Corrupt | None = None

    def asked(self, about: str, ask: Callable[[], T], nothing: T) -> T:
        if self.met is not None:
            raise self.met
        try:
            return ask()
        except Corrupt as error:
            self.met = error
            raise


@caught_by(*SILENT)
class takes_others_for_empty_after_an_error(Damaged):
    """Has stopped reading there, and answers from what it had read."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.met: str | None = None

    def asked(self, about: str, ask: Callable[[], T], nothing: T) -> T:
        if self.met not in {None, about}:
            return nothing
        try:
            return ask()
        except Corrupt:
            self.met = about
            raise


@caught_by(*SILENT)
class tells_of_damage_once(Damaged):
    """And has what it could read of the collection from then on."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.told = set[str]()

    def asked(self, about: str, ask: Callable[[], T], nothing: T) -> T:
        try:
            return ask()
        except Corrupt:
            if about in self.told:
                return nothing
            self.told.add(about)
            raise


@caught_by(FOUND, *SILENT)
class does_not_say_where(Damaged):
    def asked(self, about: str, ask: Callable[[], T], nothing: T) -> T:
        try:
            return ask()
        except Corrupt:
            raise Corrupt("something is damaged") from None


@caught_by(FOUND, *SILENT)
class calls_damage_absence(Damaged):
    def asked(self, about: str, ask: Callable[[], T], nothing: T) -> T:
        try:
            return ask()
        except Corrupt:
            raise NotFound(f"{about} is not there") from None


@caught_by(FOUND, *SILENT)
class lets_errors_of_a_parser_out(Damaged):
    def asked(self, about: str, ask: Callable[[], T], nothing: T) -> T:
        try:
            return ask()
        except Corrupt:
            raise ValueError("not what was expected") from None


class Late(Damaged):
    """Passes over what it cannot read, for verify will tell, as it says."""

    def asked(self, about: str, ask: Callable[[], T], nothing: T) -> T:
        try:
            return ask()
        except Corrupt:
            return nothing

    def health(self) -> Health:
        health = self.engine.health()
        reasons = {"late_checks": "verify tells", "damage_spreads": "nobody knows where it is"}
        return attrs.evolve(health, facts={**health.facts, **reasons})


@caught_by("files.cuts_are_never_silent")
class passes_over_what_verify_tells(Late):
    """Which is enough for bits, and not for what is cut off."""


@caught_by(FOUND, "files.cuts_are_never_silent")
class passes_over_what_nobody_tells(Late):
    def check(self) -> list[str]:
        return []
