"""Predictions and their results, written as JSON lines, brought into ``keep.predictions``.

The folder has ``predictions.jsonl`` and, if there are any, ``performance_results.jsonl`` and
``agent_performance.json`` (a list), with the field names of the records. What else their rows say
is kept too: in ``snapshot_data`` of a prediction, in ``metadata`` of a result.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
from pathlib import Path
from typing import Any, Final, Literal

import attrs

from quantkeep import InvalidValue, Keep, Record
from quantkeep.columns import Column, Kind
from quantkeep.predictions import (
    AgentPerformance,
    Original,
    PerformanceResult,
    Portfolio,
    Prediction,
    User,
    as_decimal,
)
from quantkeep_plugins.importers.source import Instants, about, json_lines, need

Finer = Literal["refuse", "round"]

_ROOM: Final = Context(prec=1_000)
_STAMPS: Final = ("created_at", "updated_at")
_FEW: Final = 5  # names in a note
_ROUNDING: Final = 'finer="round", on the command line --finer round, keeps this value beside it'


@attrs.frozen(kw_only=True)
class Imported:
    """The outcome of an import.

    Attributes:
        read: rows of the source, by kind.
        added: records that are new; 0 the second time.
        rounded: values finer than their column, as ``(id, field, value of the source)``; the value
            itself is kept under ``"unrounded"`` beside the fields.
        notes: what the source did not say, and what was taken instead.
    """

    read: Mapping[str, int]
    added: int
    rounded: tuple[tuple[str, str, float], ...] = ()
    notes: tuple[str, ...] = ()


def import_predictions(
    path: str | Path, keep: Keep, *, zone: tzinfo = UTC, finer: Finer = "refuse"
) -> Imported:
    """Bring the predictions in the folder *path* into ``keep.predictions``, in one commit.

    Ids, stamps and figures stay as they are; a float becomes the decimal it is printed as. Users
    and portfolios that only their ids speak of are made, and reported. Importing again adds
    nothing.

    Args:
        path: the folder.
        keep: where to.
        zone: of instants that say none (Z-25).
        finer: what to do with a number finer than its column, such as the noise of a float sum,
            1e-20: refuse it, or round it and keep what the source said beside it.

    Raises:
        NotFound: ``predictions.jsonl`` is missing.
        InvalidValue: something cannot be read or stored; names file and line, or record and field.
        AlreadyExists: the keep has other content under an id of the source.
    """
    return _Import(Path(path), keep, zone, finer).imported()


class _Import:
    def __init__(self, folder: Path, keep: Keep, zone: tzinfo, finer: Finer) -> None:
        self.keep = keep
        self.finer = finer
        self.instants = Instants(zone)
        self.rounded: list[tuple[str, str, float]] = []
        self.notes: list[str] = []
        self.alone: list[str] = []  # agents whose records name no user
        self.predictions = json_lines(folder / "predictions.jsonl")
        results = folder / "performance_results.jsonl"
        self.results = json_lines(results) if results.exists() else []
        self.agents = _json_list(folder / "agent_performance.json")

    def imported(self) -> Imported:
        """Do it."""
        predictions = [*self._numbered(map(self._prediction, self.predictions))]
        results = [self._result(row) for row in self.results]
        users = self._users([p.record for p in predictions])
        portfolios = self._portfolios([p.record for p in predictions])
        agents = [self._agent(row, {user.user_id for user in users}) for row in self.agents]
        if self.alone:
            self.notes.append(f"agents without a user, taken as their own: {_some(self.alone)}")
        done = self.keep.predictions.insert([*users, *portfolios, *predictions, *results, *agents])
        return Imported(
            read={
                "predictions": len(self.predictions),
                "performance_results": len(self.results),
                "agent_performance": len(self.agents),
            },
            added=done.added,
            rounded=tuple(self.rounded),
            notes=(*self.notes, *self.instants.notes),
        )

    # -- records of the source -------------------------------------------------------------------

    def _prediction(self, row: dict[str, Any]) -> Original:
        name = str(need(row, "prediction_id", "Prediction"))
        with about(name):
            fields, others = self._fields(Prediction, name, row)
            if others:
                fields["snapshot_data"] = {**(fields.get("snapshot_data") or {}), **others}
            return Original(Prediction(**fields), **self._stamps(row, "Prediction"))

    def _result(self, row: dict[str, Any]) -> Original:
        name = str(need(row, "result_id", "PerformanceResult"))
        with about(name):
            fields, others = self._fields(PerformanceResult, name, row)
            if others:
                fields["metadata"] = {**(fields.get("metadata") or {}), **others}
            return Original(PerformanceResult(**fields), **self._stamps(row, "PerformanceResult"))

    def _agent(self, row: dict[str, Any], users: set[str]) -> Original:
        name = str(need(row, "agent_name", "AgentPerformance"))
        fields, others = self._fields(AgentPerformance, name, row)
        if others:
            raise InvalidValue(
                "is no field of an agent's record",
                record="AgentPerformance", field=next(iter(others)), value=row,
                expected=", ".join(AgentPerformance.collection.names),
            )  # fmt: skip
        if "user_id" not in fields:
            fields["user_id"] = self._user_of(name, users)
        fields.setdefault("record_id", f"{fields['user_id']}/{name}")
        return Original(AgentPerformance(**fields), **self._stamps(row, "AgentPerformance"))

    def _user_of(self, agent: str, users: set[str]) -> str:
        if agent not in users:
            raise InvalidValue(
                "is missing from the source", record="AgentPerformance", field="user_id",
                expected="a user, or an agent that is called like one",
            )  # fmt: skip
        self.alone.append(agent)
        return agent

    def _fields(
        self, record: type[Record], name: str, row: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields that the record has, and all else that the row says."""
        columns = {column.name: column for column in record.collection.columns}
        fields: dict[str, Any] = {}
        others: dict[str, Any] = {}
        finer: dict[str, Any] = {}
        for said, value in row.items():
            if said in columns:
                fields[said] = self._value(columns[said], value, record.__name__, finer)
            elif said not in _STAMPS:
                others[said] = value
        self.rounded += [(name, field, value) for field, value in finer.items()]
        return fields, others | ({"unrounded": finer} if finer else {})

    def _value(self, column: Column, value: Any, record: str, finer: dict[str, Any]) -> Any:
        if value is None:
            return None
        if column.kind is Kind.DECIMAL:
            return self._decimal(column, value, record, finer)
        if column.kind is Kind.DATE:
            return _date(value, record, column.name)
        if column.kind is Kind.TIMESTAMP:
            return self.instants.read(value, record, column.name)
        return value

    def _decimal(self, column: Column, value: Any, record: str, finer: dict[str, Any]) -> Decimal:
        try:
            exact = as_decimal(value)
        except (DecimalException, TypeError, ValueError):
            raise column.refused(value, record) from None
        try:
            nearest = exact.quantize(Decimal(1).scaleb(-column.scale), ROUND_HALF_EVEN, _ROOM)
        except DecimalException:
            return exact  # infinite, or far too great: the column will say
        if nearest == exact or nearest.is_nan():
            return exact
        if self.finer == "refuse":
            raise column.refused(value, record, f"{column.expected}; or round it: {_ROUNDING}")
        finer[column.name] = value
        return nearest

    def _stamps(self, row: dict[str, Any], record: str) -> dict[str, datetime]:
        read = {n: self.instants.read(row.get(n), record, n) for n in _STAMPS}
        return {name: at for name, at in read.items() if at is not None}

    # -- what the source only refers to ----------------------------------------------------------

    def _numbered(self, predictions: Iterable[Original]) -> Iterable[Original]:
        """Predictions of one user, flow and day in the order of the source (Z-21)."""
        seen: Counter[tuple[Any, ...]] = Counter()
        for original in predictions:
            made: Any = original.record
            slot = (made.user_id, made.prediction_date, made.flow)
            seen[slot] += 1
            yield attrs.evolve(original, record=made.replace(sequence=seen[slot]))

    def _users(self, predictions: Sequence[Any]) -> list[User]:
        """The users named; those that are stored already are left as they are."""
        flows = {p.user_id: p.flow for p in reversed(predictions)}
        store, made, missing = self.keep.predictions, [], []
        for user_id, flow in flows.items():
            known = store.user(user_id)
            made.append(known or User(user_id=user_id, name=user_id, profile=flow, flow=flow))
            missing += [] if known else [user_id]
        if missing:
            self.notes.append(
                f"users known by id alone, their name, profile and flow taken from id and flow: "
                f"{_some(missing)}"
            )
        return made

    def _portfolios(self, predictions: Sequence[Any]) -> list[Portfolio]:
        """The input portfolios: what the source does not say of them stays empty."""
        store, made, missing = self.keep.predictions, [], 0
        taken: Counter[tuple[Any, ...]] = Counter()
        for prediction in {p.input_portfolio_id: p for p in reversed(predictions)}.values():
            slot = (prediction.user_id, prediction.prediction_date)
            taken[slot] += 1
            known = store.portfolio(prediction.input_portfolio_id)
            missing += known is None
            made.append(known or _known_by_id(prediction, taken[slot]))
        if missing:
            self.notes.append(f"{missing} input portfolios are known by id alone: holdings empty")
        return made


def _some(names: Sequence[str]) -> str:
    """The first few of *names*, and how many more there are."""
    more = f", and {len(names) - _FEW:,} more" if len(names) > _FEW else ""
    return ", ".join(sorted(names)[:_FEW]) + more


def _known_by_id(prediction: Any, sequence: int) -> Portfolio:
    return Portfolio(
        portfolio_id=prediction.input_portfolio_id,
        user_id=prediction.user_id,
        snapshot_date=prediction.prediction_date,
        portfolio_type="current",
        sequence=sequence,
        holdings={},
        allocation={},
        metadata={"imported": "known by id alone"},
    )


def _date(value: Any, record: str, field: str) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidValue(
            "is no date", record=record, field=field, value=value, expected="such as 2025-01-17"
        ) from None


def _json_list(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidValue(f"{path} is no JSON: {error}", expected="a list of objects") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidValue(f"{path} is something else", expected="a list of objects")
    return rows
