"""Arguments and options that several commands share."""

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import attrs
import click

from quantkeep.cli.formats import FORMATS, show
from quantkeep.cli.listing import Listing

if TYPE_CHECKING:
    ParamType = click.ParamType
else:

    class ParamType(click.ParamType):
        """Says of what it makes values, as click's own does from 8.4 on."""

        def __class_getitem__(cls, made: type) -> type:
            """The same class, whatever it makes."""
            return cls


F = TypeVar("F", bound=Callable[..., Any])

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


class Moment(ParamType[datetime]):
    """An instant: ISO 8601 (UTC where no zone is given), or so long ago: 90m, 24h, 7d, 2w."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return _moment(value)
        except (ValueError, OverflowError):
            expected = "2025-01-17, 2025-01-17T09:30:00Z or 7d"
            self.fail(f"{value!r} is no moment: expected {expected}", param, ctx)


def _moment(text: str) -> datetime:
    ago = _AGO.fullmatch(text)
    if ago:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


class Age(ParamType[timedelta]):
    """How long: 90m, 24h, 7d, 2w."""

    name = "age"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        said = _AGO.fullmatch(value)
        try:
            return timedelta(**{_UNITS[said[2]]: float(said[1])}) if said else self._none(value)
        except OverflowError:
            return self._none(value)

    def _none(self, value: str) -> NoReturn:
        self.fail(f"{value!r} is no age: expected 90m, 24h, 7d or 2w")


def limit_option(what: str = "The newest N") -> Callable[[F], F]:
    """How many rows are listed at most."""
    return click.option(
        "--limit", "-l", type=click.IntRange(min=0), default=100, show_default=True,
        help=f"{what}; 0 for all.",
    )  # fmt: skip


def examples(*lines: str) -> str:
    """An epilog of commands to try."""
    return "\n".join(("\b", "Examples:", *(f"  quantkeep {line}" for line in lines)))


def url_argument(command: F) -> F:
    """The keep: optional, for the configuration may name it."""
    return click.argument("url", required=False)(command)


@attrs.frozen
class Output:
    """Where a command's listing goes, and as what."""

    format: str | None
    file: Path | None
    columns: tuple[str, ...]

    def show(self, listing: Listing) -> None:
        """Write *listing*."""
        show(listing.narrowed(self.columns) if self.columns else listing, self.format, self.file)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How and where a listing is written; the command gets them as one argument, *out*."""

    @functools.wraps(command)
    def with_output(
        *arguments: Any,
        format: str | None,  # noqa: A002  # the option's name
        output: Path | None,
        columns: str | None,
        **options: Any,
    ) -> Any:
        named = tuple(name.strip() for name in (columns or "").split(",") if name.strip())
        return command(*arguments, out=Output(format, output, named), **options)

    for option in reversed(_OUTPUT):
        with_output = option(with_output)
    return with_output


_OUTPUT: Final = (
    click.option(
        "--format", "-f", type=click.Choice(FORMATS),
        help="Default: by the ending of --output, else a table.",
    ),
    click.option(
        "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
        help="Write to FILE, which appears whole or not at all.",
    ),
    click.option(
        "--columns", "-c", metavar="A,B,...", help="Only these columns, in this order."
    ),
)  # fmt: skip
