"""A result as a caller hands it over: metadata, and either the original JSON or three tables."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import attrs

from quantkeep.backtests import _checks, _sources
from quantkeep.backtests._checks import RECORD, Checker
from quantkeep.backtests._originals import Parts, take_apart
from quantkeep.backtests._remainder import Rests
from quantkeep.backtests.part import TaskId, as_uuid
from quantkeep.backtests.records import BacktestResult, path_of
from quantkeep.backtests.schemas import SIGNALS, SUMMARY, TABLES, ResultSchema
from quantkeep.errors import InvalidValue
from quantkeep.instants import from_text

STORED: Final = ("strategy", "start_date", "end_date", "timeframe", "status", "error")
_STAMPED: Final = ("compression", "schema_version")  # what the store says in metadata itself


@attrs.define
class Table:
    """One table on its way in.

    Attributes:
        batches: its rows, to be iterated once.
        given: the Arrow schema the caller's table had, if it was another.
        said: how its lists were spelled, if it was JSON.
    """

    batches: Iterable[Any]
    given: Any | None = None
    said: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.define
class Incoming:
    """A result on its way in.

    Attributes:
        task_id: given, or new.
        fields: of the record, known so far.
        tables: by name.
        checks: of the tables together, once they have passed.
        rests: what the columns do not hold of JSON objects.
        other: what the record's fields do not give back of the metadata.
        count: of signals, as it is said.
    """

    task_id: UUID
    fields: dict[str, Any]
    tables: dict[str, Table]
    checks: "Checks"
    rests: Rests = attrs.field(factory=dict)
    other: dict[str, Any] = attrs.field(factory=dict)
    count: Any = None

    def draft(self) -> BacktestResult:
        """The record without its tables: what can be refused of it is refused before they go."""
        symbols = self.fields["symbols"]
        return BacktestResult(
            task_id=self.task_id,
            other=self.other or None,
            **{**self.fields, "symbols": [] if symbols is None else symbols},
        )

    def restore_spelling(self, original: Mapping[str, Any]) -> None:
        """How the original was spelled, as an export remembered it."""
        self.other = dict(original.get("other", {}))
        for name, said in original.get("tables", {}).items():
            self.tables[name].said = dict(said)

    def finish(self, signals: int) -> None:
        """Check what only the whole tells (BT-21); raises :class:`InvalidValue`."""
        self.fields["symbols"] = self.checks.symbols(self.fields["symbols"])
        if self.count is not None and self.count != signals:
            raise InvalidValue(
                f"is {self.count!r}, but there are {signals} signals", record=RECORD,
                field="record_count", value=self.count, expected=f"{signals}, or none at all",
            )  # fmt: skip


class Checks:
    """What holds of the tables together, checked when they have passed."""

    def __init__(self, schema: ResultSchema, signals_given: bool) -> None:
        self._of = {table.name: Checker(table) for table in schema.tables}
        self._signals_given = signals_given
        self._totals: dict[str, int | None] = {}

    def passing(self, table: str, batches: Iterable[Any]) -> Iterable[Any]:
        """*batches*, each checked as it goes by."""
        for batch in batches:
            self._of[table].see(batch)
            if table == SUMMARY:
                _checks.check_outcomes(batch)
                named = batch["symbol"].to_pylist()
                self._totals.update(zip(named, batch["total_signals"].to_pylist(), strict=True))
            yield batch

    def symbols(self, given: list[str] | None) -> list[str]:
        """The result's symbols: as given, or in the order in which the tables have them.

        Raises:
            InvalidValue: a table has a symbol that is not among them, or another count of rows
                than the summary says.
        """
        summarised = self._of[SUMMARY].symbols
        known = given if given is not None else [*summarised] or self._met()
        for table in TABLES:
            _checks.check_summarised(self._of[table], table, dict.fromkeys(known))
        if self._signals_given:
            _checks.check_counts(self._of[SIGNALS], self._totals)
        return known

    def _met(self) -> list[str]:
        return [*dict.fromkeys(s for table in TABLES for s in self._of[table].symbols)]

    @property
    def signals(self) -> int:
        """Rows of the signals."""
        return self._of[SIGNALS].rows


def understood(result: Mapping[str, Any], task_id: TaskId | None, schema: ResultSchema) -> Incoming:
    """*result* with everything checked that can be before its tables are read.

    Raises:
        InvalidValue: names the field.
    """
    if not isinstance(result, Mapping):
        raise InvalidValue(
            f"is a {type(result).__name__}", record=RECORD, field="result", value=result,
            expected="a mapping: the original JSON, or metadata and tables by name",
        )  # fmt: skip
    said = {name: value for name, value in result.items() if name not in TABLES}
    chosen = _task_id(said.get("task_id"), task_id)
    fields = _fields(said)
    if any(name in result for name in TABLES):
        incoming = _from_tables(result, chosen, fields, schema)
    else:
        incoming = _from_original(said, chosen, fields, schema)
    incoming.other = _other(said, incoming)
    incoming.count = said.get("record_count")
    return incoming


def _from_original(
    said: Mapping[str, Any], task_id: UUID, fields: dict[str, Any], schema: ResultSchema
) -> Incoming:
    parts: Parts = take_apart(said.get("symbols"), schema)
    checks = Checks(schema, signals_given=False)  # the parts are checked, each object named
    tables = {
        name: Table(parts.batches[name], None, parts.spellings[name].said()) for name in TABLES
    }
    fields["symbols"] = parts.symbols
    return Incoming(task_id, fields, tables, checks, parts.rests)


def _from_tables(
    result: Mapping[str, Any], task_id: UUID, fields: dict[str, Any], schema: ResultSchema
) -> Incoming:
    checks = Checks(schema, signals_given=result.get(SIGNALS) is not None)
    tables = {}
    for name in TABLES:
        found = _sources.source(schema[name], result.get(name))
        tables[name] = Table(checks.passing(name, found.batches), found.given)
    fields["symbols"] = result.get("symbols")
    return Incoming(task_id, fields, tables, checks)


# -- metadata --------------------------------------------------------------------------------------


def _task_id(said: Any, asked: TaskId | None) -> UUID:
    found = {as_uuid(each) for each in (said, asked) if each is not None}
    if len(found) > 1:
        raise InvalidValue(
            f"is {said} in the result and {asked} in the call", record=RECORD, field="task_id",
            value=said, expected="one of them, or the same twice",
        )  # fmt: skip
    return found.pop() if found else uuid4()


def _fields(said: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: said[name] for name in STORED if said.get(name) is not None}
    for name in ("start_date", "end_date"):
        fields[name] = _date(said.get(name), name)
    if "strategy" not in fields:
        raise InvalidValue("is required", record=RECORD, field="strategy", expected="its name")
    if fields.get("status") == "running":
        raise InvalidValue(
            "is 'running' for a result with tables", record=RECORD, field="status",
            value="running", expected="'completed', 'failed' or 'cancelled'; see save_running()",
        )  # fmt: skip
    metadata = said.get("metadata")
    fields["metadata"] = dict(metadata) if isinstance(metadata, Mapping) else {}
    return fields


def _date(value: Any, name: str) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return datetime.fromisoformat(value).date()
    except (TypeError, ValueError):
        said = "is required" if value is None else f"is {value!r}"
        raise InvalidValue(
            said, record=RECORD, field=name, value=value, expected="a date such as 2024-01-31"
        ) from None


def moment(said: Any) -> datetime | None:
    """The instant of an ISO text with a zone, if one is said; raises :class:`InvalidValue`."""
    return None if said is None else from_text(said)


def _other(said: Mapping[str, Any], incoming: Incoming) -> dict[str, Any]:
    """What the record's fields do not give back of the metadata."""
    usual = spelled_fields(incoming.task_id, incoming.fields)
    fields = {
        name: value
        for name, value in said.items()
        if name != "symbols" and (name not in usual or not same(usual[name], value))
    }
    absent = sorted(name for name in usual if name not in said)
    return {n: v for n, v in (("fields", fields), ("absent", absent)) if v}


def spelled_fields(task_id: UUID, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata as an original usually spells it."""
    own = {n: v for n, v in fields["metadata"].items() if n not in _STAMPED}
    return {
        "task_id": str(task_id),
        "strategy": fields["strategy"],
        "start_date": fields["start_date"].isoformat(),
        "end_date": fields["end_date"].isoformat(),
        "timeframe": fields.get("timeframe"),
        "status": fields.get("status", "completed"),
        "metadata": own,
    }


def original_of(
    task_id: UUID, fields: Mapping[str, Any], other: Mapping[str, Any], symbols: list[Any]
) -> dict[str, Any]:
    """The original JSON, of the record's *fields* and its symbols (Z-50)."""
    usual = spelled_fields(task_id, fields)
    said = {n: v for n, v in usual.items() if n not in other.get("absent", ())}
    return {**said, **other.get("fields", {}), "symbols": symbols}


def same(value: Any, other: Any) -> bool:
    """Whether two plain values are equal, in type too."""
    if type(value) is not type(other):
        return False
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(same(v, other[k]) for k, v in value.items())
    if isinstance(value, list):
        return len(value) == len(other) and all(map(same, value, other))
    return repr(value) == repr(other)  # NaN is NaN, and -0.0 is not 0.0


def published(
    incoming: Incoming, files: dict[str, Any], stamped: Mapping[str, Any]
) -> BacktestResult:
    """The record that publishes the tables; raises :class:`InvalidValue`."""
    fields = {**incoming.fields, "metadata": {**incoming.fields["metadata"], **stamped}}
    described = [each for each in files.values() if "file_size_bytes" in each]
    return BacktestResult(
        task_id=incoming.task_id,
        parquet_path=path_of(incoming.task_id),
        file_size=sum(each["file_size_bytes"] for each in described),
        record_count=files[SIGNALS]["row_count"],
        files=files,
        other=incoming.other or None,
        **fields,
    )
