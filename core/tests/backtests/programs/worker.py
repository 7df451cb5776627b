"""Saves, deletes, collects or exports a result of the keep at a URL; killed at a failpoint.

python worker.py URL save|delete|cleanup|gc|export SEED [FOLDER]
"""

import random
import sys
from datetime import timedelta

import quantkeep

TASK = "550e8400-e29b-41d4-a716-446655440000"


def result(seed: int, points: int = 300) -> dict:
    """A result that says in every part which one it is."""
    noise = random.Random(seed)
    curve = [
        {"idx": n, "timestamp": f"2024-01-{1 + n // 24:02}T{n % 24:02}:00:00", "equity": e}
        for n, e in enumerate(100_000 + 1000 * seed + noise.random() for _ in range(points))
    ]
    signals = [
        {"signal_index": n, "timestamp": c["timestamp"], "entry_price": c["equity"], "why": seed}
        for n, c in enumerate(curve[::10])
    ]
    return {
        "task_id": TASK,
        "strategy": f"seed {seed}",
        "start_date": "2024-01-01",
        "end_date": "2024-06-30",
        "symbols": [{"symbol": "A", "signals": signals, "performance_curve": curve}],
    }


def main(url: str, action: str, seed: str, folder: str = "") -> None:
    with quantkeep.open(url) as keep:
        backtests = keep.backtests
        match action:
            case "save":
                backtests.save_result(result(int(seed)))
            case "delete":
                backtests.delete(TASK)
            case "cleanup":
                backtests.cleanup(timedelta())
            case "gc":
                backtests.gc(grace=timedelta())
            case "export":
                backtests.export(TASK, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
