"""Values that the commands on predictions take."""

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from quantkeep.cli.options import ParamType


class Day(ParamType[date]):
    """A date: 2025-01-17."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return value if isinstance(value, date) else date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day: expected such as 2025-01-17", param, ctx)


class Exact(ParamType[Decimal]):
    """A decimal number, as it is written."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        try:
            return Decimal(value)
        except InvalidOperation:
            self.fail(f"{value!r} is no number: expected such as 0.06", param, ctx)
