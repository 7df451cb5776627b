"""One list of JSON objects, and the rows of a table that it becomes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
import pyarrow as pa

from quantkeep.backtests._spelling import (
    Spelled,
    Unspeakable,
    column_values,
    refused,
    spelled,
    written,
)
from quantkeep.backtests.schemas import TableSchema
from quantkeep.columns import Column
from quantkeep.errors import InvalidValue

Form = dict[str, list[str]]  # by column that is not spelled as usual: [values, nulls]

_GONE: Final = "absent"  # nulls that were no key at all
_MISSING: Final = object()


@attrs.define
class Rest:
    """What the columns do not give back of one object."""

    fields: dict[str, Any] = attrs.field(factory=dict)
    absent: list[str] = attrs.field(factory=list)

    def put(self, into: dict[str, Any]) -> None:
        """Make *into* the object that it was."""
        into.update(self.fields)
        for name in self.absent:
            into.pop(name, None)


@attrs.frozen
class Listed:
    """A list as rows.

    Attributes:
        batch: a row for each object, in the schema of the table.
        form: how the columns were spelled.
        rests: by place in the list, what the columns do not hold.
    """

    batch: Any
    form: Form
    rests: dict[int, Rest]


def from_objects(
    table: TableSchema,
    objects: Sequence[Mapping[str, Any]],
    where: Callable[[int], str],
    *,
    symbol: str | None = None,
    beside: tuple[str, ...] = (),
) -> Listed:
    """The rows of *objects*.

    Args:
        table: what they become rows of.
        objects: of one list, in order.
        where: what the object in a place is called in errors.
        symbol: whose list it is; left out, each object says its own.
        beside: fields that the caller looks after.

    Raises:
        InvalidValue: a value does not fit its column; names object and field.
    """
    _check_objects(objects, where)
    columns = table.columns if symbol is None else table.columns[1:]
    listing = _Listing(objects, where)
    arrays = [listing.column(column) for column in columns]
    if symbol is not None:
        arrays.insert(0, pa.repeat(pa.scalar(symbol, pa.string()), len(objects)))
    if symbol is not None and objects and objects[0].get("symbol") == symbol:
        listing.pass_over_symbol(symbol)
    listing.keep_others({column.name for column in columns}, beside)
    batch = pa.RecordBatch.from_arrays(arrays, schema=table.arrow)
    return Listed(batch, listing.form, listing.rests)


def to_objects(
    table: TableSchema, batch: Any, form: Form, rests: Mapping[int, Rest], *, whole: bool = False
) -> list[dict[str, Any]]:
    """The objects that *batch* was; *whole* ones say their symbol themselves."""
    columns = table.columns if whole else table.columns[1:]
    gone = {name for name, (_, nulls) in form.items() if nulls == _GONE}
    kept = [c for c in columns if c.name not in gone or batch[c.name].null_count < len(batch)]
    values = [written(c, batch[c.name], form.get(c.name, ("",))[0]) for c in kept]
    names = [column.name for column in kept]
    objects = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    if not names:
        objects = [{} for _ in range(len(batch))]
    if "symbol" in form and not whole:
        objects = [
            {"symbol": symbol, **each}
            for symbol, each in zip(batch["symbol"].to_pylist(), objects, strict=True)
        ]
    _drop(objects, gone.intersection(names))
    for place, rest in rests.items():
        rest.put(objects[place])
    return objects


def _drop(objects: Iterable[dict[str, Any]], gone: Iterable[str]) -> None:
    for name in gone:
        for each in objects:
            if each[name] is None:
                del each[name]


def _check_objects(objects: Sequence[Any], where: Callable[[int], str]) -> None:
    if {dict}.issuperset(map(type, objects)):
        return
    place = next(place for place, each in enumerate(objects) if type(each) is not dict)
    raise InvalidValue(
        f"is a {type(objects[place]).__name__}", record="BacktestResult", field=where(place),
        value=objects[place], expected="a dict",
    )  # fmt: skip


class _Listing:
    """A list while its columns are taken out of it."""

    def __init__(self, objects: Sequence[Mapping[str, Any]], where: Callable[[int], str]) -> None:
        self._objects = objects
        self._where = where
        self.form: Form = {}
        self.rests: dict[int, Rest] = {}
        self._taken = 0
        self._known: set[str] = set()

    def column(self, column: Column) -> Any:
        """The array of *column*; its spelling goes into the form."""
        values, nulls = self._values(column.name)
        found = self._spelled(column, values)
        if found.form or nulls:
            self.form[column.name] = [found.form, nulls]
        for place, value in found.exceptions.items():
            self._rest(place).fields[column.name] = value
        return found.array

    def _spelled(self, column: Column, values: list[Any]) -> Spelled:
        try:
            return spelled(column, values)
        except Unspeakable as error:
            field = f"{self._where(error.place)}.{column.name}"
            raise refused(
                column, values[error.place], "BacktestResult", field, error.expected
            ) from None

    def _values(self, name: str) -> tuple[list[Any], str]:
        """Values, and what most nulls were: ``None``, or no key at all."""
        try:
            values = column_values(self._objects, name)
        except KeyError:
            pass
        else:
            self._taken += len(values)
            return values, ""
        found = [each.get(name, _MISSING) for each in self._objects]
        missing = [place for place, value in enumerate(found) if value is _MISSING]
        self._taken += len(found) - len(missing)
        nulls = [place for place, value in enumerate(found) if value is None]
        values = [None if value is _MISSING else value for value in found]
        if len(missing) < len(nulls):
            for place in missing:
                self._rest(place).absent.append(name)
            return values, ""
        for place in nulls:
            self._rest(place).fields[name] = None
        return values, _GONE

    def pass_over_symbol(self, symbol: str) -> None:
        """Objects that repeat their symbol, all of them, need not be remembered one by one."""
        if all(each.get("symbol") == symbol for each in self._objects):
            self.form["symbol"] = ["repeated", ""]
            self._known.add("symbol")

    def keep_others(self, known: set[str], beside: tuple[str, ...]) -> None:
        """Keep the fields that no column holds, object by object (Z-50)."""
        self._known |= known | {*beside}
        besides = sum(name in each for each in self._objects for name in beside)
        repeated = len(self._objects) if "symbol" in self._known - known else 0
        if sum(map(len, self._objects)) == self._taken + besides + repeated:
            return
        for place, each in enumerate(self._objects):
            for name in each.keys() - self._known:
                self._rest(place).fields[name] = each[name]

    def _rest(self, place: int) -> Rest:
        found = self.rests.get(place)
        if found is None:
            found = self.rests[place] = Rest()
        return found
