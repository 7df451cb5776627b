"""A small trading program: a session, and a tape of what it did."""

from datetime import timedelta
from typing import Any

from quantkeep.sessions import Session
from quantkeep.tape import Trade
from quantkeep_conformance.children.desk import Desk
from quantkeep_conformance.samples import FIRST_DAY

PROGRAM = "kit"


def fill(number: int) -> Trade:
    """Trade number *number* of the program: always the same."""
    return Trade(
        mode="paper",
        uid=f"fill-{number}",
        timestamp=FIRST_DAY + timedelta(seconds=number),
        symbol="BTC/USDT",
        side="LONG",
        action="INCREASE",
        qty=float(number),
        fill_price=100.0,
    )


def take_in(session: Session, trade: Any) -> None:
    """What a trade does to the state of the program."""
    session["book"]["fills"] += 1
    session["book"]["qty"] += trade.qty
    session.watermark(*stream_of(trade))


def stream_of(trade: Any) -> tuple[str, int]:
    """The stream of *trade*, and how far it has come."""
    return f"trades/{trade.mode}/{trade.account}", trade.revision or 0


def trade(desk: Desk) -> None:
    """Resume the session, put trades on the tape and then save the session, until killed."""
    keep = desk.open_whole()
    session = keep.sessions.resume(PROGRAM, tape=keep.tape, reducer=take_in)
    desk.say("ready")
    stream = stream_of(fill(0))[0]
    for number in range(session["book"]["fills"], desk.told["limit"]):
        receipt = keep.tape.append(fill(number))
        desk.say("filled", number=number)
        session["book"]["fills"] += 1
        session["book"]["qty"] += fill(number).qty
        session.watermark(stream, receipt.revision)
        session.save(snapshot="on_trade" if number % 5 == 0 else None)
        desk.say("saved", number=number)


def tell(desk: Desk) -> None:
    """Put ``times`` trades on the tape, beside others who do the same."""
    keep = desk.at_the_barrier()
    for number in range(desk.told["times"]):
        keep.tape.append(fill(number).replace(uid=None))
