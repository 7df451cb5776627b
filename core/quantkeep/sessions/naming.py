"""Names of sessions, and how one is found by its name or id."""

import re
import secrets
from datetime import datetime
from typing import Final

import attrs

from quantkeep.collection import StoredRow
from quantkeep.columns import check_key, check_text
from quantkeep.errors import InvalidValue, NotFound
from quantkeep.query import Query, Where, where
from quantkeep.sessions.tables import Tables
from quantkeep.trading import Mode

NAME_BYTES: Final = 200


def check_name(name: str, field: str, limit: int = NAME_BYTES) -> None:
    """Refuse, on every backend alike, a name or id that some engine could not hold.

    Anything else goes, ``../../x`` and quotes included: names are data, never paths or statements.
    """
    if type(name) is not str or not name or len(name.encode(errors="replace")) > limit:
        raise InvalidValue(
            f"cannot be {name!r}"[:200],
            record="session", field=field, value=name,
            expected=f"text of 1 to {limit} bytes of UTF-8",
        )  # fmt: skip
    check_text(name, "session", field)
    check_key(name, "session", field)


_MADE: Final = re.compile(r".+-\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}").fullmatch


def is_made_id(text: str) -> bool:
    """Whether *text* looks like what :func:`made_id` gives; ids of the caller's may not."""
    return _MADE(text) is not None


def made_id(name: str, now: datetime) -> str:
    """A new session id, unique and sorted by time: ``btc-arb-20260101T120000.000000Z-9f3b21c0``."""
    return f"{name}-{now:%Y%m%dT%H%M%S.%f}Z-{secrets.token_hex(4)}"


@attrs.frozen
class Finder:
    """Finds sessions; the rows it gives are not checked yet."""

    tables: Tables

    def row(self, name_or_id: str, mode: Mode | None, account: str | None) -> StoredRow:
        """The session of that id, or else the latest of that name.

        Raises:
            NotFound: there is neither.
            InvalidValue: sessions of that name differ in mode or account, and it is not said which
                is meant: a paper session is never taken for a live one.
        """
        check_name(name_or_id, "name_or_id", limit=512)
        found = self.by_id(name_or_id) or self.latest(name_or_id, mode, account)
        if found is None:
            wanted = "".join(f", {w.column} {w.value!r}" for w in where(mode=mode, account=account))
            raise NotFound(f"there is no session {name_or_id!r}{wanted}, neither by id nor by name")
        return found

    def by_id(self, session_id: str) -> StoredRow | None:
        """The session of that id, if there is one."""
        return self.tables.backend.get(self.tables.sessions.collection, (session_id,))

    def latest(self, name: str, mode: Mode | None, account: str | None) -> StoredRow | None:
        """The latest session of that name, if there is one; raises ``InvalidValue`` as above."""
        rows = self._named(name, where(mode=mode, account=account))
        self._require_one_kind(name, rows)
        return rows[0] if rows else None

    def _named(self, name: str, kind: tuple[Where, ...]) -> list[StoredRow]:
        query = Query(where=(Where("name", "==", name), *kind), order=("-number",))
        return [*self.tables.backend.scan(self.tables.sessions.collection, query)]

    def _require_one_kind(self, name: str, rows: list[StoredRow]) -> None:
        take = self.tables.sessions.collection.pick(("mode", "account"))
        kinds = sorted({take(row.values) for row in rows}, key=repr)
        if len(kinds) > 1:
            found = ", ".join(f"mode={mode!r} account={account!r}" for mode, account in kinds)
            raise InvalidValue(
                f"sessions of that name are of several kinds: {found}",
                field="name", value=name, expected="mode= and account= that leave one kind",
            )  # fmt: skip

    def next_number(self, name: str) -> int:
        """The number of the next session of that name."""
        query = Query(where=(Where("name", "==", name),), order=("-number",), limit=1)
        collection = self.tables.sessions.collection
        last = next(self.tables.backend.scan(collection, query), None)
        return int(last.values[collection.places["number"]] or 0) + 1 if last else 1
