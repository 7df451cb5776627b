"""Commands on knowledge: what was tried, what failed, what was learned, what came of it."""

from quantkeep.cli.commands.knowledge.failures import failures
from quantkeep.cli.commands.knowledge.lineage import effectiveness, lineage
from quantkeep.cli.commands.knowledge.strategies import promotions, strategies

__all__ = ["effectiveness", "failures", "lineage", "promotions", "strategies"]
