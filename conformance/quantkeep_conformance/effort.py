"""How much a randomised clause tries, and from which seed."""

import random
from collections.abc import Callable
from typing import Any

import attrs
from hypothesis import HealthCheck, Phase, seed, settings

PHASES = (Phase.explicit, Phase.generate, Phase.shrink)  # shrinking: for whoever reads the failure


@attrs.frozen
class Effort:
    """Given to clauses that draw at random or repeat.

    Attributes:
        rounds: how many times the usual effort; more for a soak, less to try a kit out.
        seed: what everything random is drawn from; the same seed gives the same run.
    """

    rounds: float
    seed: int

    def times(self, usual: int) -> int:
        """How often to do what is usually done *usual* times."""
        return max(1, round(usual * self.rounds))

    def random(self, purpose: str) -> random.Random:
        """Random numbers of their own for each *purpose*."""
        return random.Random(f"{self.seed} {purpose}")

    def settings(self, examples: int, steps: int = 30) -> settings:
        """Hypothesis settings for *examples* in a usual run."""
        return settings(
            max_examples=self.times(examples),
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=[*HealthCheck],
            phases=PHASES,
            print_blob=False,
        )

    def examples(self, usual: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorates a ``@given`` function to run *usual* examples, drawn from the seed."""

        def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
            return seed(self.seed)(self.settings(usual)(test))

        return decorate
