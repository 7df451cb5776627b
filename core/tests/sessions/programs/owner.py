"""Owns a session until it is killed.

python owner.py URL NAME SECONDS [save]     starts it, with a lease of so many seconds
"""

import sys
import time
from functools import partial

import quantkeep

say = partial(print, flush=True)

with quantkeep.open(sys.argv[1]) as keep:
    session = keep.sessions.start(sys.argv[2], lease_seconds=float(sys.argv[3]), owner="first")
    session["n"] = 1
    session.save()
    say("owned", session.session_id)
    if "save" not in sys.argv:
        time.sleep(60)
    for _ in sys.stdin:
        session["n"] += 1
        try:
            session.save()
            say("saved", session["n"])
        except quantkeep.QuantkeepError as error:
            say(type(error).__name__)
