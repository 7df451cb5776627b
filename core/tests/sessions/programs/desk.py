"""Trades, each in one commit with the state it leads to, until it is killed.

python desk.py URL NAME TIMES       resumes the session, whose state is how many trades it knows of
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import quantkeep
from quantkeep.tape import Trade

say = partial(print, flush=True)

FIRST_DAY = datetime(2026, 1, 19, 12, tzinfo=UTC)


def trade(desk, number):
    return Trade(
        mode="paper",
        uid=f"{desk}-{number}",
        timestamp=FIRST_DAY + timedelta(seconds=number),
        symbol="BTC",
        side="LONG",
        action="OPEN",
        qty=1.0,
        fill_price=1.0,
    )


def take_in(session, event):
    session["known"] = [*session["known"], event.uid]


def fill(keep, session, event):
    """Append and save in one commit; where another desk was first, take its trades in."""
    while True:
        session["known"] = [*session["known"], event.uid]
        try:
            with keep.batch() as batch:
                keep.tape.append(event, batch=batch)
                session.save(batch=batch, snapshot="on_trade")
        except quantkeep.Conflict:
            session["known"] = [uid for uid in session["known"] if uid != event.uid]
            say("taken in", session.replay(keep.tape, take_in))
        else:
            return


def main(url, name, times):
    with quantkeep.open(url) as keep:
        session = keep.sessions.resume(name, reducer=take_in)
        say("ready")
        sys.stdin.readline()
        done = sum(uid.startswith(f"{name}-") for uid in session["known"])
        for number in range(done, done + int(times)):
            fill(keep, session, trade(name, number))
            say("filled", number)
            time.sleep(0.001)  # for the other desk


if __name__ == "__main__":
    main(*sys.argv[1:])
