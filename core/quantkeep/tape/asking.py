"""What can be asked of every log of the tape, in a trader's words, as a query."""

from datetime import datetime
from typing import Final, TypedDict

from quantkeep.query import Condition, Query, Where, where
from quantkeep.trading import Mode

BY_TIME: Final = ("timestamp",)  # ties by revision


class Asked(TypedDict, total=False):
    """Which entries of a log.

    Keys:
        mode, account: of these alone; left out, of all.
        symbol: of logs that have one.
        since: at this instant or later.
        until: before this instant.
    """

    mode: Mode | None
    account: str | None
    symbol: str | None
    since: datetime | None
    until: datetime | None


def conditions(
    extra: tuple[Condition, ...] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    **equal: str | None,
) -> tuple[Condition, ...]:
    """The conditions that *equal* columns, a span of time and *extra* ones make together."""
    start = () if since is None else (Where("timestamp", ">=", since),)
    end = () if until is None else (Where("timestamp", "<", until),)
    return (*where(**equal), *start, *end, *extra)


def newest(conditions: tuple[Condition, ...], limit: int | None) -> Query:
    """The newest *limit* entries, oldest of them first (Z-38); all of them without a limit."""
    if limit is None:
        return Query(where=conditions, order=BY_TIME)
    return Query(where=conditions, order=BY_TIME, limit=limit, take="last")
