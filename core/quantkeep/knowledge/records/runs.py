"""Runs, and the iterations they go through (KB-3, KB-4)."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from quantkeep.knowledge.records.versions import Versioned, placed
from quantkeep.records import field, record


@record("runs", key=("run_id",))
class Run(Versioned):
    """One execution of the research loop: generate, backtest, score, learn from failures."""

    run_id: UUID = placed("given, or made")
    project_version: str
    config: dict[str, Any] = field(factory=dict, doc="full snapshot of the run's settings")
    status: Literal["RUNNING", "DONE", "FAILED"] = field(default="RUNNING", index=True)
    details: dict[str, Any] | None = field(default=None, doc="what else the source says")


@record("iterations", key=("run_id", "iteration_id"), stream=("run_id",))
class Iteration(Versioned):
    """One round of a run, under one set of constraints. Numbers grow within the run (KB-1)."""

    run_id: UUID = field(references="runs")
    iteration_id: int = placed("given, or the next number of the run")
    started_at: datetime | None = field(default=None, doc="UTC; if absent, created_at says it")
    ended_at: datetime | None = field(default=None, doc="UTC; absent while it goes on")
    constraint_set_id_applied: str | None = field(
        default=None, index=True, references="constraint_sets"
    )
    summary: dict[str, Any] | None = field(default=None, doc="counts and remarks of the round")
