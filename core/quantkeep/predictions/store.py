"""The prediction store: its parts, put together."""

from typing import ClassVar

from quantkeep.predictions.agents import AgentPersona, AgentPrediction, Agents
from quantkeep.predictions.calibration import Calibrations
from quantkeep.predictions.evaluations import AgentEvaluation
from quantkeep.predictions.executions import ExecutionLog, Executions
from quantkeep.predictions.forecasts import Forecasts, Prediction
from quantkeep.predictions.originals import Originals
from quantkeep.predictions.performance import AgentPerformance
from quantkeep.predictions.portfolios import Portfolio, Portfolios
from quantkeep.predictions.results import PerformanceResult
from quantkeep.predictions.retrospection import Retrospections
from quantkeep.predictions.users import User, Users
from quantkeep.records import Record


class PredictionStore(
    Users,
    Portfolios,
    Forecasts,
    Retrospections,  # results, evaluations and weights, and all three as one commit
    Agents,
    Executions,
    Calibrations,
    Originals,
):
    """Predictions, and how they turned out.

    What is saved twice is stored once: the same content under the same id adds nothing, other
    content is ``AlreadyExists``. Ids that are left out are derived from the content.
    """

    name: ClassVar[str] = "predictions"
    records: ClassVar[tuple[type[Record], ...]] = (
        User,
        Portfolio,
        Prediction,
        PerformanceResult,
        AgentPerformance,
        ExecutionLog,
        AgentPersona,
        AgentPrediction,
        AgentEvaluation,
    )
