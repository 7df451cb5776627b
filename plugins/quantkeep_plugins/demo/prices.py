"""The prices that ship with the demo; ``prices.md`` says where they are from, and their terms."""

import csv
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from importlib.resources import files
from itertools import groupby

import attrs


@attrs.frozen
class Bar:
    """One trading day of one symbol, in US dollars."""

    open: Decimal
    close: Decimal


@attrs.frozen
class Day:
    """One trading day: a bar for each symbol."""

    number: int
    date: date
    bars: Mapping[str, Bar]


def trading_days() -> list[Day]:
    """All days, in order."""
    text = files(__package__).joinpath("prices.csv").read_text(encoding="utf-8")
    grouped = groupby(csv.DictReader(text.splitlines()), key=lambda row: row["date"])
    return [
        Day(number, date.fromisoformat(day), {row["symbol"]: _bar(row) for row in rows})
        for number, (day, rows) in enumerate(grouped)
    ]


def _bar(row: Mapping[str, str]) -> Bar:
    return Bar(Decimal(row["open"]), Decimal(row["close"]))
