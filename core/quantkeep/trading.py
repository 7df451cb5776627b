"""Words of the trade that several stores share: modes, sides, actions, slippage."""

from typing import Final, Literal

Mode = Literal["paper", "live", "backtest", "test"]
Side = Literal["LONG", "SHORT"]
ExecType = Literal["maker", "taker"]
PositionSource = Literal["simulator", "exchange"]

# Z-33. Further ones are said at opening: quantkeep.open(..., choices={"trades.action": ["HEDGE"]}).
ACTIONS: Final = (
    "OPEN",
    "CLOSE",
    "INCREASE",
    "REDUCE",
    "REBALANCE",
    "KILL",  # closed by the kill switch
    "MANUAL",  # closed by hand
    "EXTERNAL",  # closed at the exchange, not by this program
    "FUNDING",
)
CLOSING: Final = ("CLOSE", "KILL", "MANUAL", "EXTERNAL")  # these end the life of a position

_OTHER_LABELS: Final = {
    "ENTER": "OPEN",
    "ENTRY": "OPEN",
    "SPREAD": "OPEN",  # one leg of a spread
    "EXIT": "CLOSE",
    "REBAL": "REBALANCE",
    "REBAL_EXIT": "REDUCE",  # a rebalance that takes part of a position off
}


def action_of(label: str) -> str:
    """The action that another program's *label* means (Z-33); unknown labels as they are.

    Keep the label itself in ``source_action``.
    """
    name = label.upper()
    return _OTHER_LABELS.get(name, name)


def slippage_bps(fill_price: float, target_price: float) -> float:
    """Slippage in basis points: above the target is positive, whatever the side (CODEX-4)."""
    return (fill_price - target_price) / target_price * 10_000
