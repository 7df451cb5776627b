"""What other programs wrote, brought into a keep."""

from collections.abc import Sequence
from typing import Any

from quantkeep import hookimpl


@hookimpl
def quantkeep_importers() -> Sequence[Any]:
    """Join ``quantkeep import``."""
    from quantkeep_plugins.importers.commands import COMMANDS

    return COMMANDS
