#!/usr/bin/env python3
"""Measure questions on knowledge in SQLite against SQL written by hand, in the same run.

    python bench/knowledge.py [--failures 100000] [--json bench/results/knowledge.json]

Raw has tables of its own, without checks or digests, and an index for each question.
"""

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import raw_knowledge
import timing
from raw_knowledge import Failed, Row
from timing import Figure, race

import quantkeep
from quantkeep import Keep
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
    content_hash,
)

SETS = 10
BACKTESTS = 2_000
CONTRACT = {"commission": 0.002}
TARGET = 1 / 0.85


class Research:
    """One run of iterations, each under a set of constraints that the one before taught."""

    def __init__(self, keep: Keep, given: Sequence[Failed]) -> None:
        self.knowledge = keep.knowledge
        self.run_id = self.knowledge.start_run(
            Run(project_version="1", engine_version="1", config={})
        )
        self.scores: list[Row] = []
        self.sets = [f"cs-{number}" for number in range(SETS)]
        of_backtest = {
            number: [*group]
            for number, group in itertools.groupby(given, lambda failed: failed.backtest)
        }
        for number in range(SETS + 1):
            self._iteration(number, of_backtest)

    def _iteration(self, number: int, of_backtest: dict[int, list[Failed]]) -> None:
        applied = self.sets[number - 1] if number else None
        self.knowledge.start_iteration(
            Iteration(run_id=self.run_id, constraint_set_id_applied=applied)
        )
        first, last = (BACKTESTS * n // (SETS + 1) for n in (number, number + 1))
        for backtest in range(first, last):
            self._backtest(backtest, number + 1, of_backtest.get(backtest, []))
        if number < SETS:
            self._learn(number)

    def _backtest(self, number: int, iteration: int, failed: Sequence[Failed]) -> None:
        knowledge = self.knowledge
        strategy = Strategy(normalized_spec={"n": number // 2}, created_from="bench")
        strategy_id = knowledge.upsert_strategy(strategy)
        backtest = Backtest(
            run_id=self.run_id, iteration_id=iteration, strategy_id=strategy_id,
            engine_version="1", data_version=f"d{number}", bar_interval="1d",
            period_start=datetime(2020, 1, 1, tzinfo=UTC),
            period_end=datetime(2024, 1, 1, tzinfo=UTC),
            model_versions={}, calc_contract=CONTRACT, status="completed",
        )  # fmt: skip
        backtest_id = knowledge.insert_backtest(backtest)
        score = (number * 7919 % BACKTESTS) / 100
        contract = content_hash(CONTRACT)
        knowledge.save_metrics(backtest_id, Metrics(calc_contract_hash=contract, sharpe_net=score))
        knowledge.save_score(backtest_id, Score(score_total=score, passed=True, policy_version="1"))
        self.scores.append((backtest_id, strategy_id, iteration, score))
        knowledge.save_failures(
            backtest_id,
            [
                Failure(
                    failure_id=each.failure_id, category=each.category, tags=[*each.tags],
                    summary="fell", evidence={"drawdown": 0.4},
                )
                for each in failed
            ],
        )  # fmt: skip

    def _learn(self, number: int) -> None:
        limits = [
            Constraint(constraint_id=f"c-{n}", type="MAX_POSITIONS", params={"max": n + 1})
            for n in range(number + 1)
        ]
        proof = ConstraintProvenance(constraint_id=f"c-{number}", failure_id=f"f-{number}")
        about = ConstraintSet(
            constraint_set_id=self.sets[number],
            base_constraint_set_id=self.sets[number - 1] if number else None,
        )
        self.knowledge.save_constraint_set(
            self.run_id, number + 1, limits, [proof], constraint_set=about
        )


def questions(keep: Keep, raw: raw_knowledge.Knowledge, count: int) -> Iterator[Figure]:
    """Each asked in turn of both."""
    ours = keep.knowledge
    asked = (
        (
            "ten most frequent tags",
            lambda: ours.repeat_failures(10),
            lambda: raw.repeat("tag", "tags"),
        ),
        (
            "ten most frequent categories",
            lambda: ours.repeat_failures(10, by="category"),
            lambda: raw.repeat("category", "failures"),
        ),
        ("ten best strategies", lambda: ours.top_strategies(10), raw.top),
        (
            "lineage of a failure",
            lambda: ours.lineage("f-0", metric="score_total"),
            lambda: raw.lineage("f-0"),
        ),
    )
    for name, mine, by_hand in asked:
        yield race(
            f"{name}, {count:,} failures",
            lambda run, mine=mine: mine,  # type: ignore[misc]
            lambda run, by_hand=by_hand: by_hand,  # type: ignore[misc]
            runs=30, rows=count, target=TARGET,
        )  # fmt: skip


def agree(keep: Keep, raw: raw_knowledge.Knowledge) -> None:
    """Both must say the same, or nothing is measured."""
    tags = [(each.label, each.count) for each in keep.knowledge.repeat_failures(10)]
    assert tags == [row[:2] for row in raw.repeat("tag", "tags")]
    best = [(each.strategy_id, each.value) for each in keep.knowledge.top_strategies(10)]
    assert best == [row[:2] for row in raw.top()]
    (drawn,) = keep.knowledge.lineage("f-0", metric="score_total").constraints
    figures = [
        (a.iteration.iteration_id, a.figures.measured, dict(a.figures.failures))
        for a in drawn.applied_in
    ]
    said = raw.lineage("f-0")
    assert figures == [(*row[1:3], dict(failed)) for row, failed in sorted(said)]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--failures", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="write the figures here")
    said = parser.parse_args()
    given = [*raw_knowledge.failures(said.failures, BACKTESTS)]
    with (
        tempfile.TemporaryDirectory() as folder,
        quantkeep.open(f"sqlite:///{folder}/keep.db?synchronous=normal") as keep,
    ):
        research = Research(keep, given)
        raw = raw_knowledge.Knowledge(Path(folder) / "raw.db")
        raw.fill(given, research.scores, research.sets)
        agree(keep, raw)
        figures = [*questions(keep, raw, said.failures)]
    for figure in figures:
        timing.show(figure)
    if said.json:
        said.json.parent.mkdir(parents=True, exist_ok=True)
        timing.write(figures, said.json, failures=said.failures)


if __name__ == "__main__":
    main()
