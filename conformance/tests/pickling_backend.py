"""A backend whose module knows how to run what it reads; for the clause that looks for this."""

import pickle

from naive.fronts import Front, Wrapper


class Pickling(Wrapper):
    """Sound, but for what it imports."""

    read = pickle.loads


PICKLING = Front(Pickling, ["hostile.code_executes_nothing"])
