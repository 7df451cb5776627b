"""Backtests and what they gave: metrics, scores, robustness cases, reports (KB-6 ... KB-8)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from quantkeep.collection import Reference
from quantkeep.errors import InvalidValue
from quantkeep.knowledge.records.versions import Versioned, placed
from quantkeep.records import Record, field, record


@record(
    "backtests",
    key=("backtest_id",),
    stream=("run_id",),
    unique=[("reproducibility_key", "rerun_mark")],
    indexes=[
        ("strategy_id", "data_version", "engine_mode", "period_start", "period_end"),  # KB-20
        ("run_id", "iteration_id", "status"),
    ],
    references=[Reference(("run_id", "iteration_id"), "iterations")],
)
class Backtest(Versioned):
    """One strategy on one version of the data, under one calculation contract.

    Tables and series stay in files or in ``keep.backtests``; here are their paths (KB-35).
    """

    backtest_id: str = placed("given, or made")
    run_id: UUID
    iteration_id: int
    strategy_id: str = field(references="strategies")
    engine_mode: str = field(default="A", choices=("A", "B"), extensible=True)
    engine_version: str = field(doc="name and version of the engine")
    data_version: str
    universe_version: str | None = None
    period_start: datetime | None = field(default=None, doc="UTC; absent where nobody knows")
    period_end: datetime | None = None
    bar_interval: str | None = field(default=None, doc="1d, 5m ...")
    model_versions: dict[str, Any] = field(factory=dict, doc="cost, exec and pf models")
    calc_contract: dict[str, Any] = field(doc="how figures are to be computed: costs, units ...")
    calc_contract_hash: str = placed("content hash of calc_contract")
    status: str = field(
        default="running", choices=("running", "completed", "failed", "pruned"), extensible=True
    )
    error_code: str | None = None
    violated_constraints: list[str] | None = field(
        default=None, doc="why it was pruned: ids within the set its iteration applied"
    )
    artifacts_dir: str | None = field(default=None, doc="path of its files")
    artifact_ref: str | None = field(default=None, doc="id of the result in keep.backtests")
    details: dict[str, Any] | None = field(default=None, doc="what else the source says")
    reproducibility_key: str = placed("hash of all that makes the result reproducible (KB-2)")
    rerun_mark: str = placed("empty; of a rerun kept beside an earlier one, its own id (Z-64)")


@record("metrics", key=("backtest_id",), stream=("run_id",), immutable=True)
class Metrics(Versioned):
    """What a backtest measured. Returns, drawdown and rates are fractions (0.09), net of costs."""

    backtest_id: str = placed("the backtest", references="backtests")
    run_id: UUID = placed("its run")
    iteration_id: int = placed("its iteration", index=True)
    strategy_id: str = placed("its strategy", index=True)
    calc_contract_hash: str = field(doc="contract the figures were computed under (Z-61)")
    total_return: float | None = field(default=None, index=True)
    cagr: float | None = field(default=None, index=True)
    volatility: float | None = field(default=None, index=True, doc="per year")
    sharpe_net: float | None = field(default=None, index=True)
    sortino_net: float | None = field(default=None, index=True)
    calmar_net: float | None = field(default=None, index=True)
    max_drawdown_net: float | None = field(
        default=None, index=True, doc="positive: 0.25 is a fall of 25 %; ascending is best first"
    )
    profit_factor: float | None = field(default=None, index=True)
    win_rate: float | None = field(default=None, index=True)
    exposure: float | None = field(default=None, doc="fraction of the time in the market")
    trades: int | None = None
    details: dict[str, Any] | None = field(
        default=None, doc="every figure as the source has it; numbers become metric_values"
    )
    metrics_json_path: str | None = None
    quality_warnings: list[str] | None = None

    def __attrs_post_init__(self) -> None:
        if self.max_drawdown_net is not None and self.max_drawdown_net < 0:
            raise InvalidValue(
                f"is {self.max_drawdown_net!r}",
                record="Metrics", field="max_drawdown_net", value=self.max_drawdown_net,
                expected="a positive fraction: 0.25 for a fall of 25 %",
            )  # fmt: skip


@record(
    "metric_values",
    key=("backtest_id", "name"),
    stream=("run_id",),
    immutable=True,
    indexes=[("name", "value")],
    references=[Reference(("backtest_id",), "metrics", on_delete="cascade")],
)
class MetricValue(Record):
    """A number of ``Metrics.details``, by name, so that any metric can rank strategies."""

    backtest_id: str
    name: str
    value: float
    run_id: UUID
    iteration_id: int
    strategy_id: str


@record("scores", key=("backtest_id",), stream=("run_id",))
class Score(Versioned):
    """What a scoring policy made of a backtest's metrics, which must be there (KB-24)."""

    backtest_id: str = placed("the backtest", references="metrics")
    run_id: UUID = placed("its run")
    iteration_id: int = placed("its iteration", index=True)
    strategy_id: str = placed("its strategy", index=True)
    score_total: float | None = field(
        default=None, index=True, doc="absent where the policy could not tell"
    )
    breakdown: dict[str, Any] | None = None
    passed: bool
    fail_reasons: list[str] = field(factory=list)
    policy_version: str = field(doc="score_v1")


@record("robustness_cases", key=("backtest_id", "case_id"), stream=("run_id",))
class RobustnessCase(Versioned):
    """A backtest under stress: doubled costs, shifted entries, another universe (KB-13)."""

    backtest_id: str = placed("the backtest", references="backtests")
    case_id: str
    run_id: UUID = placed("its run")
    iteration_id: int = placed("its iteration")
    strategy_id: str = placed("its strategy", index=True)
    type: str = field(index=True, doc="cost_stress, walk_forward ...")
    params: dict[str, Any] = field(factory=dict)
    metrics_ref: str | None = field(default=None, doc="path, or backtest id, of its metrics")
    passed: bool


@record("reports", key=("report_id",), stream=("run_id",))
class Report(Versioned):
    """Where a written report is (KB-14)."""

    report_id: str = placed("given, or made")
    run_id: UUID = field(references="runs")
    backtest_id: str | None = field(default=None, index=True, references="backtests")
    tearsheet_pdf_path: str | None = None
    summary_json_path: str | None = None
    doc_store_id: str | None = field(default=None, doc="id in a store of documents")
