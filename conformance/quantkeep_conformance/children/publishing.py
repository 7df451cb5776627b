"""A program that publishes results of backtests, and dies at a step of it."""

from datetime import datetime, timedelta
from typing import Any, Final

from quantkeep_conformance.children.desk import Desk

TASK: Final = "550e8400-e29b-41d4-a716-446655440000"
STEPS: Final = (
    "blobs.stage@1",
    "blobs.stage@3",
    "backtests.save.symbol_signals",
    "backtests.save.staged",
    "backtests.save.commit",
    "backtests.save.committed",
)


def result(number: int, **said: Any) -> dict[str, Any]:
    """A result that says in every part which one it is; NaN, -0.0 and null are among its values."""
    begun = datetime(2024, 1, 1)  # noqa: DTZ001  # as the original writes its moments
    moments = [(begun + timedelta(hours=hour)).isoformat() for hour in range(48)]
    curve = [
        {"idx": place, "timestamp": at, "equity": 100_000.0 + number + place / 7}
        for place, at in enumerate(moments)
    ]
    signals = [
        {
            "signal_index": place,
            "timestamp": at,
            "entry_price": 100.25 + number,
            "exit_price": (None, float("nan"), 101.5)[place % 3],
            "slippage_amount": -0.0,
            "status": "closed",
            "reason": f"of {number}",
        }
        for place, at in enumerate(moments[::4])
    ]
    about = {"symbol": "BTC/USDT", "signals": signals, "performance_curve": curve}
    return {
        "task_id": TASK,
        "strategy": f"number {number}",
        "start_date": "2024-01-01",
        "end_date": "2024-06-30",
        "symbols": [about, {"symbol": "EMPTY", "signals": [], "performance_curve": []}],
        **said,
    }


def publish(desk: Desk) -> None:
    """Save one result over whatever there is, with failpoints armed."""
    with desk.open_whole() as keep:
        desk.arm("ready")
        keep.backtests.save_result(result(desk.told["number"]))
        desk.say("saved")


def weigh(desk: Desk) -> None:
    """Count an agent's accuracy ``times`` times, beside others who do the same."""
    keep = desk.open_whole()
    desk.say("ready")
    desk.listen()
    for _ in range(desk.told["times"]):
        keep.predictions.update_agent_weights("marv", {"agent": {"accuracy": 1}})
    desk.say("done")
