"""Interleaved timing: methods take turns, so that a machine whose speed drifts wrongs neither."""

import gc
import json
import platform
import random
import sqlite3
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

Work = Callable[[], object]


@attrs.frozen
class Figure:
    """How one path did against the raw driver doing the same work."""

    path: str
    ours: float  # median
    raw: float
    ratio: float  # ours / raw, median of the pairs
    runs: int
    rows: int  # in each run
    target: float  # the ratio to stay under
    unit: str = "s"  # of ours and raw, or MB

    @property
    def met(self) -> bool:
        """Whether the target was met."""
        return self.ratio <= self.target


def race(
    path: str,
    ours: Callable[[int], Work],
    raw: Callable[[int], Work],
    *,
    runs: int,
    rows: int,
    target: float,
) -> Figure:
    """Time *ours* and *raw* in turn, in changing order; each takes the run and gives its work."""
    pairs = []
    for run in range(-warm_ups(runs), runs):
        seconds = {}
        for name, prepare in random.sample([("ours", ours), ("raw", raw)], 2):
            seconds[name] = _seconds(prepare(run))
        if run >= 0:
            pairs.append((seconds["ours"], seconds["raw"]))
    return Figure(
        path=path,
        ours=statistics.median(a for a, _ in pairs),
        raw=statistics.median(b for _, b in pairs),
        ratio=statistics.median(a / b for a, b in pairs),
        runs=runs,
        rows=rows,
        target=target,
    )


def warm_ups(runs: int) -> int:
    """Runs before the first that counts; they are numbered from below 0."""
    return max(1, runs // 10)


def _seconds(work: Work) -> float:
    gc.collect(0)
    gc.disable()
    try:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    finally:
        gc.enable()


def show(figure: Figure) -> None:
    """One line of the table."""
    print(
        f"{figure.path:44} {told(figure.ours, figure.unit):>10} "
        f"{told(figure.raw, figure.unit):>10} "
        f"{figure.ratio:6.2f}x  target {figure.target:.2f}x {'met' if figure.met else 'MISSED'}",
        flush=True,
    )


def told(value: float, unit: str = "s") -> str:
    """A figure for people: seconds in microseconds or milliseconds."""
    if unit != "s":
        return f"{value:,.0f} {unit}"
    return f"{value * 1e6:,.0f} µs" if value < 0.01 else f"{value * 1e3:,.0f} ms"


def write(figures: list[Figure], path: Path, **more: Any) -> None:
    """The figures, and the machine they are of, as JSON."""
    machine: Mapping[str, Any] = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        **more,
    }
    said = {"machine": machine, "figures": [{**attrs.asdict(f), "met": f.met} for f in figures]}
    path.write_text(json.dumps(said, indent=1) + "\n")
