"""The original JSON of a result (Z-50), taken apart into three tables, and put together again.

{"task_id": ..., "strategy": ..., "start_date": ..., "end_date": ..., ...,
 "symbols": [{"symbol": "BTC/USDT", "win_rate": 58.5, ...,
              "signals": [{...}, ...], "performance_curve": [{...}, ...]}, ...]}
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from quantkeep.backtests._checks import RECORD, Checker, check_counts, check_outcomes
from quantkeep.backtests._lists import Form, Rest, from_objects, to_objects
from quantkeep.backtests._remainder import Place, Rests, named
from quantkeep.backtests._runs import grouped
from quantkeep.backtests.records import check_symbols
from quantkeep.backtests.schemas import CURVE, SIGNALS, SUMMARY, ResultSchema
from quantkeep.errors import Corrupt, InvalidValue

LISTS: Final = {SIGNALS: "signals", CURVE: "performance_curve"}  # keys within a symbol


@attrs.define
class Spellings:
    """How the lists of one table were spelled: each form once, and which list has which."""

    forms: list[Form] = attrs.field(factory=list)
    form_of: list[int] = attrs.field(factory=list)

    def add(self, form: Form, rows: int) -> None:
        """The next list's; one without rows has none."""
        if not rows:
            self.form_of.append(0)
            return
        if form not in self.forms:
            self.forms.append(form)
        self.form_of.append(self.forms.index(form))

    def of(self, place: int) -> Form:
        """The form of the list in that place."""
        if not self.forms:
            return {}
        return self.forms[self.form_of[place] if self.form_of else 0]

    @classmethod
    def remembered(cls, forms: Sequence[Mapping[str, Any]], form_of: Sequence[int]) -> "Spellings":
        """What :meth:`said` said."""
        return cls([dict(form) for form in forms], [*form_of])

    def said(self) -> dict[str, Any]:
        """What has to be remembered; nothing where all is as usual."""
        if self.forms in ([], [{}]):
            return {}
        return {"forms": self.forms, "form_of": self.form_of if len(self.forms) > 1 else []}


@attrs.frozen
class Parts:
    """A result in parts.

    Attributes:
        symbols: their names, in order.
        batches: by table, its rows.
        spellings: by table, how its lists were spelled.
        rests: what the columns do not hold.
        signals: rows of the signals.
    """

    symbols: list[str]
    batches: Mapping[str, list[Any]]
    spellings: Mapping[str, Spellings]
    rests: Rests
    signals: int


def take_apart(symbols: Any, schema: ResultSchema) -> Parts:
    """The tables of the ``symbols`` of an original.

    Raises:
        InvalidValue: a value does not fit; names object and field. A count disagrees with its
            table. Instants are not in order.
    """
    listed = _list(symbols, "symbols")
    summary = from_objects(
        schema[SUMMARY], listed, lambda row: f"symbols[{row}]", beside=tuple(LISTS.values())
    )
    names: list[str] = summary.batch["symbol"].to_pylist()
    checks = {table.name: Checker(table) for table in schema.tables}
    checks[SUMMARY].see(summary.batch, lambda row: f"symbols[{row}]")
    check_symbols(names)
    spellings = {SUMMARY: Spellings([summary.form]), SIGNALS: Spellings(), CURVE: Spellings()}
    batches: dict[str, list[Any]] = {SUMMARY: [summary.batch], SIGNALS: [], CURVE: []}
    rests: Rests = {Place(0, "symbols"): summary.rests} if summary.rests else {}
    said: set[str] = set()  # symbols whose signals are said, even if there are none
    for place, (each, name) in enumerate(zip(listed, names, strict=True)):
        for table, key in LISTS.items():
            objects = _list_of(each, key, place, rests)
            if objects is not None and table == SIGNALS:
                said.add(name)
            where = _where(Place(place, key))
            found = from_objects(schema[table], objects or [], where, symbol=name)
            checks[table].see(found.batch, where)
            spellings[table].add(found.form, len(found.batch))
            batches[table].append(found.batch)
            if found.rests:
                rests[Place(place, key)] = found.rests
    _check_totals(summary.batch, said, checks[SIGNALS])
    return Parts(names, batches, spellings, rests, checks[SIGNALS].rows)


def _check_totals(summary: Any, said: set[str], signals: Checker) -> None:
    totals = zip(summary["symbol"].to_pylist(), summary["total_signals"].to_pylist(), strict=True)
    check_counts(signals, {name: total for name, total in totals if name in said})
    check_outcomes(summary)


def _where(place: Place) -> Callable[[int], str]:
    return lambda row: named(place, row)


def _list(value: Any, field: str) -> list[Any]:
    if type(value) is list:
        return value
    raise InvalidValue(
        "is required" if value is None else f"is a {type(value).__name__}", record=RECORD,
        field=field, value=value, expected="a list of objects",
    )  # fmt: skip


def _list_of(symbol: Mapping[str, Any], key: str, place: int, rests: Rests) -> list[Any] | None:
    """The symbol's list; that it has none, or says ``null``, is remembered."""
    found = symbol.get(key)
    if found is not None:
        return _list(found, f"symbols[{place}].{key}")
    rest = rests.setdefault(Place(0, "symbols"), {}).setdefault(place, Rest())
    if key in symbol:
        rest.fields[key] = None
    else:
        rest.absent.append(key)
    return None


# -- together again --------------------------------------------------------------------------------


def put_together(
    tables: Mapping[str, Any],
    spellings: Mapping[str, Spellings],
    rests: Rests,
    symbols: Sequence[str],
    schema: ResultSchema,
) -> list[dict[str, Any]]:
    """The ``symbols`` of the original, of *tables* (a record batch each)."""
    summary = tables[SUMMARY]
    form = spellings[SUMMARY].of(0)
    objects = to_objects(schema[SUMMARY], summary, form, {}, whole=True)
    if not objects:
        objects = [{"symbol": symbol} for symbol in symbols]  # tables without a summary
    for table, key in LISTS.items():
        parts = dict(_by_symbol(tables[table]))
        for place, each in enumerate(objects):
            batch = parts.get(each["symbol"], tables[table].slice(0, 0))
            rest = rests.get(Place(place, key), {})
            _check_rest(rest, batch, Place(place, key))
            each[key] = to_objects(schema[table], batch, spellings[table].of(place), rest)
    for row, others in rests.get(Place(0, "symbols"), {}).items():
        others.put(objects[row])
    return objects


def _check_rest(rest: Mapping[int, Rest], batch: Any, place: Place) -> None:
    if rest and max(rest) >= len(batch):
        raise Corrupt(f"{named(place, max(rest))} is not in the table, which has {len(batch)} rows")


def _by_symbol(batch: Any) -> Iterator[tuple[str, Any]]:
    together, found, _ = grouped(batch)
    for symbol, start, stop in found:
        yield symbol, together.slice(start, stop - start)
