"""``python -m quantkeep_conformance.servers NAME -- COMMAND ...``: a server for one command.

Each ``{url}`` in the command is the URL of a keep on the server, which ends with the command.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from quantkeep_conformance.servers._process import ServerUnavailable
from quantkeep_conformance.servers._starting import STARTERS, as_settings, started


def main(arguments: Sequence[str] | None = None) -> int:
    """Start, run, end; the exit code is the command's, or 2 where no server could be started."""
    ours, command = _split([*(sys.argv[1:] if arguments is None else arguments)])
    asked = _parser().parse_args(ours)
    if not command:
        _parser().error("nothing to run: write -- and a command")
    try:
        with started(asked.name, as_settings(asked.settings)) as server:
            said = [part.replace("{url}", server.store) for part in command]
            return subprocess.run(said, check=False).returncode
    except (ServerUnavailable, FileNotFoundError) as error:
        print(error, file=sys.stderr)  # noqa: T201  # a program's own complaint
        return 2


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first ``--``, and after it."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m quantkeep_conformance.servers",
        usage="%(prog)s NAME [--setting NAME=VALUE] -- COMMAND ...",
        description="Start a server for tests, run a command beside it, end it.",
    )
    parser.add_argument("name", help=f"{', '.join(STARTERS)} or module:attribute")
    parser.add_argument(
        "--setting", dest="settings", action="append", default=[], metavar="NAME=VALUE",
        help="added to the server's configuration",
    )  # fmt: skip
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="with {url} where its URL belongs"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
