"""The same knowledge in tables made by hand on sqlite3, with an index for each question."""

import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import raw_sqlite

Row = tuple[Any, ...]

_TABLES = """
CREATE TABLE failures (
    failure_id TEXT PRIMARY KEY, backtest_id TEXT, iteration INTEGER, category TEXT, summary TEXT,
    evidence TEXT, created_at INTEGER);
CREATE INDEX failures_category ON failures (category, created_at);
CREATE INDEX failures_iteration ON failures (iteration, category);
CREATE TABLE tags (failure_id TEXT, tag TEXT, created_at INTEGER, PRIMARY KEY (failure_id, tag));
CREATE INDEX tags_tag ON tags (tag, created_at);
CREATE TABLE scores (backtest_id TEXT PRIMARY KEY, strategy_id TEXT, iteration INTEGER, score REAL);
CREATE INDEX scores_score ON scores (score);
CREATE INDEX scores_iteration ON scores (iteration);
CREATE TABLE iterations (iteration INTEGER PRIMARY KEY, applied TEXT);
CREATE INDEX iterations_applied ON iterations (applied);
CREATE TABLE constraints (
    set_id TEXT, constraint_id TEXT, origin_set_id TEXT, PRIMARY KEY (set_id, constraint_id));
CREATE INDEX constraints_origin ON constraints (origin_set_id, constraint_id);
CREATE TABLE provenance (failure_id TEXT, set_id TEXT, constraint_id TEXT);
CREATE INDEX provenance_failure ON provenance (failure_id);
"""
_REPEAT = "SELECT {0}, count(*), min(created_at), max(created_at) FROM {1} GROUP BY {0} "
_TOP = "ORDER BY count(*) DESC, {0} LIMIT 10"
_LINEAGE = """
SELECT c.constraint_id, i.iteration, count(s.score), avg(s.score), max(s.score)
FROM provenance p
JOIN constraints o ON o.set_id = p.set_id AND o.constraint_id = p.constraint_id
JOIN constraints c
    ON c.origin_set_id = o.origin_set_id AND c.constraint_id = o.constraint_id
JOIN iterations i ON i.applied = c.set_id
JOIN scores s ON s.iteration = i.iteration
WHERE p.failure_id = ? GROUP BY c.constraint_id, i.iteration
"""
_FAILED = "SELECT category, count(*) FROM failures WHERE iteration = ? GROUP BY category"


@attrs.frozen
class Failed:
    """One failure of the made-up research."""

    failure_id: str
    backtest: int
    category: str
    tags: tuple[str, ...]


def failures(count: int, backtests: int) -> Iterator[Failed]:
    """Failures of so many backtests; some tags are far more frequent than others."""
    chance = random.Random(5)
    tags = [f"tag-{n}" for n in range(40)]
    weights = [1 / (n + 1) for n in range(40)]
    for number in range(count):
        chosen = tuple(dict.fromkeys(chance.choices(tags, weights, k=2)))
        category = f"CATEGORY_{chance.randrange(8)}"
        yield Failed(f"f-{number}", number * backtests // count, category, chosen)


class Knowledge:
    """Failures, scores, iterations and constraints."""

    def __init__(self, path: Path) -> None:
        self.connection = raw_sqlite.connect(path)
        self.connection.executescript(_TABLES)

    def fill(self, given: Sequence[Failed], scores: Sequence[Row], sets: Sequence[str]) -> None:
        """Everything in one transaction; set *n* is drawn from failure *n*, and continues n - 1."""
        evidence = json.dumps({"drawdown": 0.4})
        run = self.connection
        run.execute("BEGIN")
        for at, each in enumerate(given):
            backtest_id, _, iteration, _ = scores[each.backtest]
            row = (each.failure_id, backtest_id, iteration, each.category, "fell", evidence, at)
            run.execute("INSERT INTO failures VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            rows = [(each.failure_id, tag, at) for tag in each.tags]
            run.executemany("INSERT INTO tags VALUES (?, ?, ?)", rows)
        run.executemany("INSERT INTO scores VALUES (?, ?, ?, ?)", scores)
        for number, name in enumerate(sets):
            run.execute("INSERT INTO iterations VALUES (?, ?)", (number + 2, name))
            carried = [(name, f"c-{n}", sets[n]) for n in range(number + 1)]
            run.executemany("INSERT INTO constraints VALUES (?, ?, ?)", carried)
            proof = (f"f-{number}", name, f"c-{number}")
            run.execute("INSERT INTO provenance VALUES (?, ?, ?)", proof)
        run.execute("COMMIT")
        run.execute("ANALYZE")

    def repeat(self, by: str, table: str) -> list[Row]:
        """The ten most frequent."""
        return self._rows(_REPEAT.format(by, table) + _TOP.format(by))

    def top(self) -> list[Row]:
        """The ten best strategies, each once."""
        return self._rows(
            "SELECT strategy_id, max(score), backtest_id FROM scores GROUP BY strategy_id "
            "ORDER BY max(score) DESC LIMIT 10"
        )

    def lineage(self, failure_id: str) -> list[tuple[Row, list[Row]]]:
        """What a failure led to, with the figures and the failures of each iteration."""
        led = self._rows(_LINEAGE, failure_id)
        return [(row, self._rows(_FAILED, row[1])) for row in led]

    def _rows(self, query: str, *values: Any) -> list[Row]:
        connection: sqlite3.Connection = self.connection
        return connection.execute(query, values).fetchall()
