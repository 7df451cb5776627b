"""The ``quantkeep`` command. Importing this imports neither click nor rich."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on *arguments* (or those of the process); the exit code.

    0: good. 1: the answer is no (problems found, keeps differ). 2: it could not be run.
    """
    from quantkeep.cli.frame import run

    return run(arguments)
