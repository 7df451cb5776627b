"""Research runs of other programs, brought into ``keep.knowledge``.

Importing is idempotent: what is there already adds nothing, so an import that was interrupted is
simply made again.
"""

from quantkeep_plugins.importers.knowledge.chain import import_chain
from quantkeep_plugins.importers.knowledge.optuna import import_optuna
from quantkeep_plugins.importers.knowledge.reporting import Imported

__all__ = ["Imported", "import_chain", "import_optuna"]
