"""``quantkeep demo``: a paper-trading run on real prices that is killed, resumed and checked."""

from collections.abc import Sequence
from typing import Any

from quantkeep import hookimpl


@hookimpl
def quantkeep_commands() -> Sequence[Any]:
    """Join the command line."""
    from quantkeep_plugins.demo.command import demo

    return [demo]
