"""The knowledge store: one source of truth for strategies, results, failures and constraints."""

from typing import Any, ClassVar

from quantkeep.batch import PRESENT, Receipt
from quantkeep.knowledge._failures import Failures
from quantkeep.knowledge._lineage import Lineage
from quantkeep.knowledge._promotions import Promotions
from quantkeep.knowledge._rankings import Rankings
from quantkeep.knowledge._regression import Regression
from quantkeep.knowledge._results import Results
from quantkeep.knowledge._strategies import Strategies
from quantkeep.knowledge._tape_links import TapeLinks
from quantkeep.knowledge.records import (
    Atom,
    Backtest,
    Constraint,
    ConstraintProvenance,
    ConstraintSet,
    Failure,
    FailureTag,
    Iteration,
    LiveTrades,
    Metrics,
    MetricValue,
    PromotionRecord,
    Replay,
    Report,
    RobustnessCase,
    Run,
    Score,
    Strategy,
    Template,
)
from quantkeep.records import Record
from quantkeep.store import PendingBatch


class KnowledgeStore(
    Strategies, Results, Failures, Promotions, TapeLinks, Regression, Rankings, Lineage
):
    """Runs, strategies, backtests, failures, and the constraints learned from them (KB-0).

        knowledge = keep.knowledge
        run_id = knowledge.start_run(Run(project_version="1.4", config=config))
        number = knowledge.start_iteration(Iteration(run_id=run_id))
        strategy_id = knowledge.upsert_strategy(Strategy(normalized_spec=spec, created_from="llm"))

    What is saved twice is stored once; what contradicts what is stored is refused.
    """

    records: ClassVar[tuple[type[Record], ...]] = (
        Run,
        Iteration,
        Template,
        Atom,
        Strategy,
        Backtest,
        Metrics,
        MetricValue,
        Score,
        Failure,
        FailureTag,
        ConstraintSet,
        Constraint,
        ConstraintProvenance,
        RobustnessCase,
        Report,
        LiveTrades,
        Replay,
        PromotionRecord,
    )

    def delete(
        self,
        record: type[Record],
        *key: Any,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Delete one record: ``knowledge.delete(Failure, failure_id)`` (KB-36).

        The tags of a failure, and the named values of metrics, go with them.

        Raises:
            NotFound: it is not stored.
            StillReferenced: others refer to it; says which.
        """
        write = self.table(record).delete(*key, expect=PRESENT)
        return self._commit(write, op_id=op_id, batch=batch)
