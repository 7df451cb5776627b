"""What the knowledge store keeps, record by record."""

from quantkeep.knowledge.records.constraints import (
    Constraint,
    ConstraintProvenance,
    ConstraintSet,
)
from quantkeep.knowledge.records.failures import Failure, FailureTag
from quantkeep.knowledge.records.promotions import PromotionRecord
from quantkeep.knowledge.records.results import (
    Backtest,
    Metrics,
    MetricValue,
    Report,
    RobustnessCase,
    Score,
)
from quantkeep.knowledge.records.runs import Iteration, Run
from quantkeep.knowledge.records.strategies import Atom, Strategy, Template
from quantkeep.knowledge.records.tape_links import LiveTrades, Replay

__all__ = [
    "Atom",
    "Backtest",
    "Constraint",
    "ConstraintProvenance",
    "ConstraintSet",
    "Failure",
    "FailureTag",
    "Iteration",
    "LiveTrades",
    "MetricValue",
    "Metrics",
    "PromotionRecord",
    "Replay",
    "Report",
    "RobustnessCase",
    "Run",
    "Score",
    "Strategy",
    "Template",
]
