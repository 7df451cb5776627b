#!/usr/bin/env python3
"""Set up and run in one go; needs only Python 3.11 or newer and its pip.

    python3 x.py demo [...]   a trading run that is killed and resumed (arguments go to the demo)
    python3 x.py test [...]   every test (arguments go to tox: -e sqlite -- -k atomicity)

The environments it makes live in .dev/ and .tox/ beside this file; delete them at will.
"""

from __future__ import annotations  # an older Python gets as far as being told so

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent


def environment(name: str, *requirements: str) -> Path:
    """The Python of a virtual environment that holds *requirements*, made if need be."""
    folder = HERE / ".dev" / name
    python = folder / "bin" / "python"
    if not python.exists():
        # --without-pip: Debian ships the rest of venv in a package of its own.
        run(sys.executable, "-m", "venv", "--clear", "--without-pip", folder)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    run(*pip, "install", "--quiet", *requirements)
    return python


def demo(arguments: Sequence[str]) -> None:
    run(environment("run", "."), "-m", "quantkeep", "demo", *arguments)


def test(arguments: Sequence[str]) -> None:
    # Four at a time also on two cores: much of it waits for disks, servers and locks.
    tox = (environment("tox", "tox>=4.22"), "-m", "tox")
    run(*tox, *(arguments or ("run-parallel", "--parallel", "4", "--parallel-no-spinner")))


def run(*command: str | Path) -> None:
    """Run *command* here, and end with its exit code unless that is 0."""
    code = subprocess.run(command, cwd=HERE, check=False).returncode
    if code:
        sys.exit(code)


def main(task: str = "", *arguments: str) -> None:
    tasks = {"demo": demo, "test": test}
    if task in ("-h", "--help"):
        print(__doc__)
    elif task not in tasks:
        sys.exit(f"{__doc__}\nx.py: no task {task!r}" if task else __doc__)
    else:
        tasks[task](arguments)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what meets the older ones
        sys.exit(f"quantkeep needs Python 3.11 or newer, and this is {sys.version.split()[0]}")
    main(*sys.argv[1:])
