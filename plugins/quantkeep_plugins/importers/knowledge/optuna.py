"""Studies of Optuna, out of the SQLite file that its RDB storage writes."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from quantkeep import InvalidValue, Keep, NotFound
from quantkeep.knowledge import (
    Backtest,
    Failure,
    Iteration,
    Metrics,
    Run,
    Strategy,
    content_hash,
)
from quantkeep.store import PendingBatch
from quantkeep_plugins.importers.knowledge.figures import key_metrics
from quantkeep_plugins.importers.knowledge.reporting import Imported
from quantkeep_plugins.importers.knowledge.storing import Backtests, rows
from quantkeep_plugins.importers.source import Instants

if TYPE_CHECKING:
    import sqlite3

_STATUS: Final = {
    "COMPLETE": "completed",
    "FAIL": "failed",
    "PRUNED": "pruned",
    "RUNNING": "running",
    "WAITING": "running",
}
_INFINITE: Final = {"INF_POS": math.inf, "INF_NEG": -math.inf}


def import_optuna(
    path: str | Path,
    keep: Keep,
    *,
    study: str | None = None,
    objectives: Sequence[str] = (),
    data_version: str | None = None,
    engine_version: str = "unknown",
    contract: Mapping[str, Any] | None = None,
    zone: tzinfo = UTC,
) -> Imported:
    """Bring a study into ``keep.knowledge``: a run of one iteration, a backtest for each trial.

    A trial's parameters are its strategy, its objectives and numeric user attributes its metrics;
    a trial that failed is a failure. The file is opened to be read, and left as it is.

    Args:
        path: the SQLite file.
        keep: where to.
        study: its name; not needed where there is only one.
        objectives: names of the objective values, in order; ``objective_0`` ... otherwise.
        data_version: of the prices; the study's ``data`` attribute, or its name, otherwise.
        engine_version: of what ran the backtests, which Optuna does not know.
        contract: what the figures were computed under; the study's attributes otherwise.
        zone: Optuna writes local times without a zone; this is theirs.

    Raises:
        NotFound: there is no such file or study.
        InvalidValue: the file is no storage of Optuna, or has several studies.
        Conflict: the keep has other content under an id of the study.
    """
    with closing(_connected(Path(path))) as source:
        found = _Study(source, study)
        run = _Import(found, keep, tuple(objectives), Instants(zone))
        return run.imported(data_version, engine_version, contract)


def _connected(path: Path) -> "sqlite3.Connection":
    import sqlite3

    if path.is_dir():
        raise InvalidValue(f"{path} is a folder", expected="the SQLite file of Optuna's storage")
    if not path.exists():
        raise NotFound(f"there is no {path}")
    return sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)


class _Study:
    """One study of a storage."""

    def __init__(self, source: "sqlite3.Connection", name: str | None) -> None:
        self._source = source
        self.id, self.name = self._chosen(name)
        self.directions = [
            row[0]
            for row in self._rows(
                "SELECT direction FROM study_directions WHERE study_id = ? ORDER BY objective",
                self.id,
            )
        ]
        self.attributes = self._attributes("study", self.id)
        self.library = self._rows("SELECT library_version FROM version_info")[0][0]

    def _rows(self, query: str, *values: Any) -> list[Any]:
        import sqlite3

        try:
            return self._source.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise InvalidValue(
                f"the file is no storage of Optuna: {error}", expected="its tables, in SQLite"
            ) from None

    def _chosen(self, name: str | None) -> tuple[int, str]:
        studies = {row[1]: row[0] for row in self._rows("SELECT study_id, study_name FROM studies")}
        if name is None and len(studies) == 1:
            name = next(iter(studies))
        if name is None:
            raise InvalidValue(
                f"there are {len(studies)} studies", field="study",
                expected=" or ".join(map(repr, studies)) or "a file with studies",
            )  # fmt: skip
        if name not in studies:
            raise NotFound(f"there is no study {name!r}; there are {', '.join(studies)}")
        return studies[name], name

    def _attributes(self, of: str, number: int) -> dict[str, Any]:
        query = f"SELECT key, value_json FROM {of}_user_attributes WHERE {of}_id = ?"  # noqa: S608  # of two
        return {key: json.loads(text) for key, text in self._rows(query, number)}

    def trials(self) -> Iterator[dict[str, Any]]:
        """The trials in order, with everything that belongs to each."""
        query = (
            "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials "
            "WHERE study_id = ? ORDER BY number"
        )
        for trial_id, number, state, start, complete in self._rows(query, self.id):
            yield {
                "number": number,
                "state": state,
                "start": start,
                "complete": complete,
                "params": self._params(trial_id),
                "values": self._values(trial_id),
                "steps": self._steps(trial_id),
                "attributes": self._attributes("trial", trial_id),
            }

    def _params(self, trial_id: int) -> dict[str, Any]:
        query = (
            "SELECT param_name, param_value, distribution_json FROM trial_params "
            "WHERE trial_id = ? ORDER BY param_name"
        )
        found = self._rows(query, trial_id)
        return {name: _parameter(value, json.loads(text)) for name, value, text in found}

    def _values(self, trial_id: int) -> list[float]:
        query = "SELECT value, value_type FROM trial_values WHERE trial_id = ? ORDER BY objective"
        return [_INFINITE.get(kind, value) for value, kind in self._rows(query, trial_id)]

    def _steps(self, trial_id: int) -> list[list[Any]]:
        query = (
            "SELECT step, intermediate_value, intermediate_value_type "
            "FROM trial_intermediate_values WHERE trial_id = ? ORDER BY step"
        )
        return [[s, _intermediate(v, kind)] for s, v, kind in self._rows(query, trial_id)]


def _intermediate(value: float | None, kind: str) -> float | None:
    return math.nan if kind == "NAN" else _INFINITE.get(kind, value)


def _parameter(value: float, distribution: Mapping[str, Any]) -> Any:
    """What the trial was given: Optuna stores whole numbers and choices as floats."""
    name = distribution["name"]
    if name == "CategoricalDistribution":
        return distribution["attributes"]["choices"][int(value)]
    return int(value) if name.startswith("Int") else value


class _Import:
    def __init__(
        self, study: _Study, keep: Keep, objectives: tuple[str, ...], instants: Instants
    ) -> None:
        self.study = study
        self.keep = keep
        self.knowledge = keep.knowledge
        self.instants = instants
        self.backtests = Backtests(keep)
        self.run_id = uuid5(NAMESPACE_URL, f"optuna:{study.name}")
        names = (f"objective_{place}" for place in range(len(study.directions)))
        self.objectives = [*objectives, *[*names][len(objectives) :]]

    def imported(
        self, data_version: str | None, engine: str, contract: Mapping[str, Any] | None
    ) -> Imported:
        before, read = rows(self.keep), 0
        about = {
            "data_version": data_version or str(self.study.attributes.get("data", self.study.name)),
            "engine_version": engine,
            "calc_contract": dict(self.study.attributes if contract is None else contract),
        }
        self._begin()
        with self.keep.batch() as batch:
            for trial in self.study.trials():
                self._trial(trial, about, batch)
                read += 1
        notes = [f"the study does not say its period, nor its engine: {engine!r} was taken"]
        if self.backtests.reruns:
            notes.append(f"{self.backtests.reruns} trials repeat earlier ones: kept as reruns")
        return Imported(
            run_id=self.run_id,
            read={"trials": read},
            added=rows(self.keep) - before,
            notes=(*self.instants.notes, *notes),
        )

    def _begin(self) -> None:
        config = {
            "study_name": self.study.name,
            "directions": self.study.directions,
            "objectives": self.objectives,
            "user_attributes": self.study.attributes,
        }
        version = f"optuna {self.study.library}"
        self.knowledge.start_run(
            Run(run_id=self.run_id, project_version=version, config=config, status="DONE")
        )
        self.knowledge.start_iteration(Iteration(run_id=self.run_id, iteration_id=1))

    def _trial(self, trial: dict[str, Any], about: dict[str, Any], batch: PendingBatch) -> None:
        name = f"optuna:{self.study.name}"
        created = self.instants.read(trial["start"], "trials", "datetime_start")
        strategy = Strategy(
            normalized_spec={"study": self.study.name, "params": trial["params"]},
            created_from=name,
        )
        backtest = Backtest(
            backtest_id=f"{name}:{trial['number']}",
            run_id=self.run_id,
            iteration_id=1,
            strategy_id=self.knowledge.upsert_strategy(strategy, created_at=created, batch=batch),
            status=_STATUS[trial["state"]],
            details={"state": trial["state"], "complete": trial["complete"]},
            **about,
        )
        self.backtests.insert(backtest, created, batch)
        if trial["values"]:
            self._metrics(backtest, trial, batch)
        if trial["state"] == "FAIL":
            self._failure(backtest, trial, batch)

    def _metrics(self, backtest: Backtest, trial: dict[str, Any], batch: PendingBatch) -> None:
        values = dict(zip(self.objectives, trial["values"], strict=False))
        details = {**trial["attributes"], **values}
        if trial["steps"]:
            details["intermediate_values"] = trial["steps"]
        metrics = Metrics(
            calc_contract_hash=content_hash(backtest.calc_contract),
            details=details,
            **key_metrics(details),
        )
        self.knowledge.save_metrics(backtest.backtest_id, metrics, batch=batch)

    def _failure(self, backtest: Backtest, trial: dict[str, Any], batch: PendingBatch) -> None:
        failure = Failure(
            category="TRIAL_FAILED",
            tags=["optuna"],
            summary=f"trial {trial['number']} failed; Optuna does not keep why",
            evidence={"state": trial["state"], "params": trial["params"]},
        )
        self.knowledge.save_failures(backtest.backtest_id, [failure], batch=batch)
