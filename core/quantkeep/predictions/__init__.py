"""``keep.predictions``: what was predicted, for whom, by which agents, and how it turned out."""

from quantkeep.predictions.agents import AgentPersona, AgentPrediction
from quantkeep.predictions.calibration import Calibration
from quantkeep.predictions.evaluations import AgentEvaluation, Scores
from quantkeep.predictions.executions import ExecutionLog
from quantkeep.predictions.export import read_files, write_files
from quantkeep.predictions.figures import as_decimal
from quantkeep.predictions.forecasts import Prediction
from quantkeep.predictions.originals import Inserted, Original
from quantkeep.predictions.part import Saved
from quantkeep.predictions.performance import AgentPerformance, by_accuracy
from quantkeep.predictions.portfolios import Portfolio
from quantkeep.predictions.results import Figures, PerformanceResult
from quantkeep.predictions.retrospection import Retrospection
from quantkeep.predictions.store import PredictionStore
from quantkeep.predictions.users import User

__all__ = [
    "AgentEvaluation",
    "AgentPerformance",
    "AgentPersona",
    "AgentPrediction",
    "Calibration",
    "ExecutionLog",
    "Figures",
    "Inserted",
    "Original",
    "PerformanceResult",
    "Portfolio",
    "Prediction",
    "PredictionStore",
    "Retrospection",
    "Saved",
    "Scores",
    "User",
    "as_decimal",
    "by_accuracy",
    "read_files",
    "write_files",
]
