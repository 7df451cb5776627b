"""A research loop written as JSON lines: strategies, backtests, failures, constraint sets.

The folder has ``run.json`` and, with one object on each line, ``iterations``, ``strategies``,
``backtests``, ``scores``, ``failures``, ``constraint_sets`` and ``provenance`` (``.jsonl``).
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from quantkeep import InvalidValue, Keep
from quantkeep.knowledge import (
    Backtest,
    Constraint,
    ConstraintProvenance,
    ConstraintSet,
    Failure,
    Iteration,
    Metrics,
    Run,
    Score,
    Strategy,
    Template,
    content_hash,
    from_document,
)
from quantkeep.store import PendingBatch
from quantkeep_plugins.importers.knowledge.figures import key_metrics
from quantkeep_plugins.importers.knowledge.reporting import Imported
from quantkeep_plugins.importers.knowledge.storing import Backtests, rows
from quantkeep_plugins.importers.source import Instants, about, json_file, json_lines, need

FILES: Final = (
    "iterations", "strategies", "backtests", "scores", "failures", "constraint_sets", "provenance",
)  # fmt: skip
CONTRACT: Final = ("cash", "commission")  # settings of the run that figures are computed under
_TEMPLATE: Final = "template:"
_BACKTEST_FIELDS: Final = (
    "backtest_id", "iteration_id", "strategy_id", "engine_mode", "data_version", "bar_interval",
    "model_versions", "status", "artifacts_dir",
)  # fmt: skip
_ELSEWHERE: Final = (
    "run_id", "period_start", "period_end", "created_at", "metrics", "violated_constraints",
)  # fmt: skip
_FAILURE_FIELDS: Final = (
    "failure_id", "category", "tags", "severity", "confidence", "summary", "evidence_pack_path",
    "evidence", "state",
)  # fmt: skip
# What may be, where a parameter must not be ">= value": all that is below it.
_ALLOWED: Final = {">=": "below", ">": "max", "<=": "above", "<": "min"}


def import_chain(path: str | Path, keep: Keep, *, zone: tzinfo = UTC) -> Imported:
    """Bring the research run in the folder *path* into ``keep.knowledge``.

    Stamps, ids and figures stay as they are; each metric is kept under its own name and, where
    there is a field for it, as a fraction. ``forbid_param`` constraints become LIMIT_PARAM_RANGE.
    Periods that say no zone are taken in *zone*.

    Raises:
        NotFound: a file is missing.
        InvalidValue: something cannot be read; names file and line, or record and field.
        Conflict: the keep has other content under an id of the run.
    """
    return _Chain(Path(path), keep, zone).imported()


class _Chain:
    def __init__(self, folder: Path, keep: Keep, zone: tzinfo) -> None:
        self.keep = keep
        self.knowledge = keep.knowledge
        self.instants = Instants(zone)
        self.run = json_file(folder / "run.json")
        self.read = {name: json_lines(folder / f"{name}.jsonl") for name in FILES}
        self.run_id = UUID(need(self.run, "run_id", "run"))
        self.contract = {name: self.run.get("config", {}).get(name) for name in CONTRACT}
        self.templates = {each.template_id for each in keep.knowledge.templates()}
        self.backtests = Backtests(keep)

    def imported(self) -> Imported:
        before = rows(self.keep)
        self._run()
        with self.keep.batch() as batch:
            self._strategies(batch)
        for iteration in sorted(self.read["iterations"], key=lambda row: row["iteration_id"]):
            self._iteration(iteration)
        return Imported(
            run_id=self.run_id,
            read={name: len(found) for name, found in self.read.items()},
            added=rows(self.keep) - before,
            notes=(*self.instants.notes, *self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        yield f"calc_contract is {', '.join(CONTRACT)} of run.json: {self.contract}"
        if self.backtests.reruns:
            yield f"{self.backtests.reruns} backtests repeat earlier ones, and are kept as reruns"

    # -- runs and strategies -----------------------------------------------------------------------

    def _run(self) -> None:
        said = dict(self.run)
        created = self.instants.read(said.pop("created_at", None), "run", "created_at")
        known = {
            name: said.pop(name)
            for name in ("project_version", "engine_version", "config", "status")
            if name in said
        }
        del said["run_id"]
        run = Run(run_id=self.run_id, details=said or None, **known)
        self.knowledge.start_run(run, created_at=created)

    def _strategies(self, batch: PendingBatch) -> None:
        for row in self.read["strategies"]:
            with about(need(row, "strategy_id", "strategies")):
                self._strategy(row, batch)

    def _strategy(self, row: dict[str, Any], batch: PendingBatch) -> None:
        source = need(row, "created_from", "strategies")
        template_id = source.removeprefix(_TEMPLATE) if source.startswith(_TEMPLATE) else None
        if template_id and template_id not in self.templates:
            self._template(template_id, batch)
        strategy = Strategy(
            strategy_id=need(row, "strategy_id", "strategies"),
            normalized_spec=need(row, "normalized_spec", "strategies"),
            created_from=source,
            template_id=template_id,
            spec_hash_version=need(row, "spec_hash_version", "strategies"),
        )
        created = self.instants.read(row.get("created_at"), "strategies", "created_at")
        self.knowledge.upsert_strategy(strategy, created_at=created, batch=batch)

    def _template(self, template_id: str, batch: PendingBatch) -> None:
        self.knowledge.save_template(Template(template_id=template_id), batch=batch)
        self.templates.add(template_id)

    # -- iterations and their results --------------------------------------------------------------

    def _iteration(self, row: dict[str, Any]) -> None:
        number = row["iteration_id"]
        started, ended = (
            self.instants.read(row.get(name), "iterations", name)
            for name in ("started_at", "ended_at")
        )
        iteration = Iteration(
            run_id=self.run_id,
            iteration_id=number,
            started_at=started,
            ended_at=ended,
            constraint_set_id_applied=row.get("constraint_set_id_applied"),
            summary=row.get("summary"),
        )
        self.knowledge.start_iteration(iteration)
        with self.keep.batch() as batch:  # an iteration's results are there whole, or not at all
            self._results(number, batch)
        for constraint_set in self.read["constraint_sets"]:
            if self._drawn_up_in(constraint_set) == number:
                with about(constraint_set["constraint_set_id"]):
                    self._constraint_set(constraint_set, number)

    def _results(self, number: int, batch: PendingBatch) -> None:
        scores = {row["backtest_id"]: row for row in self.read["scores"]}
        for row in self.read["backtests"]:
            if row["iteration_id"] == number:
                with about(row["backtest_id"]):
                    self._result(row, scores.get(row["backtest_id"]), batch)

    def _result(
        self, row: dict[str, Any], score: dict[str, Any] | None, batch: PendingBatch
    ) -> None:
        self._backtest(row, batch)
        if row.get("metrics") is not None:
            self._metrics(row, score, batch)
        self._failures(row["backtest_id"], batch)

    def _backtest(self, row: dict[str, Any], batch: PendingBatch) -> None:
        start, end = (
            self.instants.read(row.get(name), "backtests", name)
            for name in ("period_start", "period_end")
        )
        known = {name: need(row, name, "backtests") for name in _BACKTEST_FIELDS}
        details = {n: v for n, v in row.items() if n not in (*_BACKTEST_FIELDS, *_ELSEWHERE)}
        details["period"] = [row.get("period_start"), row.get("period_end")]
        error = row.get("error")
        backtest = Backtest(
            **known,
            run_id=self.run_id,
            engine_version=need(self.run, "engine_version", "run"),
            period_start=start,
            period_end=end,
            calc_contract=self.contract,
            error_code=error.partition(":")[0] if error else None,
            violated_constraints=row.get("violated_constraints"),
            details=details,
        )
        created = self.instants.read(row.get("created_at"), "backtests", "created_at")
        self.backtests.insert(backtest, created, batch)

    def _metrics(
        self, row: dict[str, Any], score: dict[str, Any] | None, batch: PendingBatch
    ) -> None:
        metrics = Metrics(
            calc_contract_hash=content_hash(self.contract),
            details=row["metrics"],
            metrics_json_path=f"{row['artifacts_dir']}stats.json",
            **key_metrics(row["metrics"]),
        )
        self.knowledge.save_metrics(row["backtest_id"], metrics, batch=batch)
        if score is not None:
            said = {name: value for name, value in score.items() if name != "backtest_id"}
            self.knowledge.save_score(row["backtest_id"], Score(**said), batch=batch)

    def _failures(self, backtest_id: str, batch: PendingBatch) -> None:
        noted = [row for row in self.read["failures"] if row["backtest_id"] == backtest_id]
        failures = [
            Failure(**{name: need(row, name, "failures") for name in _FAILURE_FIELDS})
            for row in noted
        ]
        stamps = [self.instants.read(r.get("created_at"), "failures", "created_at") for r in noted]
        known = [stamp for stamp in stamps if stamp] or None
        self.knowledge.save_failures(backtest_id, failures, created_at=known, batch=batch)

    # -- constraints -------------------------------------------------------------------------------

    def _drawn_up_in(self, row: dict[str, Any]) -> int:
        """The iteration whose failures its own constraints were drawn from."""
        own = row["constraint_set_id"]
        made: list[int] = [p["created_at_iteration"] for p in self._provenance_of(own)]
        return max(made, default=min(r["iteration_id"] for r in self.read["iterations"]))

    def _provenance_of(self, set_id: str) -> Iterable[dict[str, Any]]:
        return (row for row in self.read["provenance"] if row["constraint_set_id"] == set_id)

    def _constraint_set(self, row: dict[str, Any], number: int) -> None:
        set_id = need(row, "constraint_set_id", "constraint_sets")
        known = ConstraintSet(
            constraint_set_id=set_id,
            base_constraint_set_id=row.get("base_constraint_set_id"),
            policy_version=row.get("policy_version"),
            state=row.get("state", "ACTIVE"),
        )
        proofs = [
            ConstraintProvenance(
                constraint_id=proof["constraint_id"],
                failure_id=proof["failure_id"],
                mapping_rule=proof["mapping_rule"],
            )
            for proof in self._provenance_of(set_id)
        ]
        self.knowledge.save_constraint_set(
            self.run_id,
            number,
            [_constraint(each) for each in need(row, "constraints", "constraint_sets")],
            proofs,
            constraint_set=known,
            created_at=self.instants.read(row.get("created_at"), "constraint_sets", "created_at"),
        )


def _constraint(row: dict[str, Any]) -> Constraint:
    if row.get("type") != "forbid_param":
        return from_document({"constraints": [row]})[1][0]
    bound = _ALLOWED.get(row["op"])
    if bound is None:
        raise InvalidValue(
            f"of {row.get('constraint_id')!r} is {row['op']!r}",
            record="constraints", field="op", value=row["op"], expected=" or ".join(_ALLOWED),
        )  # fmt: skip
    applies = {"strategy_families": [row["strategy"]]}
    if row.get("symbol"):
        applies["symbols"] = [row["symbol"]]
    return Constraint(
        constraint_id=row["constraint_id"],
        type="LIMIT_PARAM_RANGE",
        params={"param": row["param"], bound: row["value"]},
        applies_to=applies,
        derived_from_type="failure",
        notes=row.get("reason"),
        details=row,
    )
