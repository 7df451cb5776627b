"""What may import what, what may not be needed, and that faults are off until asked for."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core" / "quantkeep"
SHIPPED = (
    CORE,
    ROOT / "backends" / "quantkeep_backends",
    ROOT / "plugins" / "quantkeep_plugins",
    ROOT / "conformance" / "quantkeep_conformance",
)


def imported(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every module that a file under *folder* imports, at its top or inside."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((file, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield file, node.module


def importers(folder: Path, *roots: str) -> list[str]:
    return [
        f"{file.relative_to(ROOT)} imports {name}"
        for file, name in imported(folder)
        if name.partition(".")[0] in roots
    ]


@pytest.mark.requirement("Z-13", api="quantkeep.hookspecs.quantkeep_commands")
def test_core_imports_nothing_that_joins_it() -> None:
    assert CORE.is_dir()
    joining = ("quantkeep_backends", "quantkeep_plugins", "quantkeep_conformance")
    assert importers(CORE, *joining) == []
    assert importers(SHIPPED[3], *joining[:2]) == []  # the kit knows backends by URL alone
    joined = {point.value for point in entry_points(group="quantkeep.plugins")}
    assert {"quantkeep_plugins.demo", "quantkeep_conformance.commands"} <= joined


@pytest.mark.requirement("Z-19", api="sqlite:///")
def test_no_second_sqlite_comes_into_the_process() -> None:
    """Two libraries on one file undo each other's locks: nothing shipped opens it with another."""
    other = ("adbc_driver_sqlite", "adbc_driver_manager", "duckdb", "connectorx", "apsw")
    for folder in SHIPPED:
        assert importers(folder, *other, "pysqlite3", "aiosqlite") == []


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


WRITES = """
import sys
from datetime import datetime, UTC
import quantkeep
from quantkeep.tape import EquityPoint

with quantkeep.open(sys.argv[1] if len(sys.argv) > 1 else {url!r}) as keep:
    point = EquityPoint(mode="paper", timestamp=datetime.now(UTC), total_equity=1.0)
    try:
        keep.tape.append(point)
    except quantkeep.QuantkeepError as error:
        print(type(error).__name__)
    print(len(keep.tape.equity(mode="paper")))
"""


@pytest.mark.requirement("Z-17", api="json:///")
def test_the_json_backend_needs_no_driver_and_no_accelerator(tmp_path: Path) -> None:
    absent = [
        "sqlalchemy",
        "sqlite3",
        "_sqlite3",
        "msgspec",
        "orjson",
        "pyarrow",
        "numpy",
        "pandas",
    ]
    hidden = f"import sys; sys.modules.update(dict.fromkeys({absent!r}))\n"
    ran = run(hidden + WRITES.format(url=f"json:///{tmp_path}/bot"))
    assert (ran.stdout, ran.stderr) == ("1\n", "")
    ran = run(hidden + WRITES.format(url=f"sqlite:///{tmp_path}/bot.db"))
    assert "DriverMissing: the backend 'sqlite' needs sql" in ran.stderr  # they are hidden indeed


@pytest.mark.requirement("Z-18", api="QUANTKEEP_FAILPOINTS")
@pytest.mark.parametrize("scheme", ["sqlite", "json"])
def test_faults_are_off_until_the_environment_arms_them(tmp_path: Path, scheme: str) -> None:
    code = WRITES.format(url=f"{scheme}:///{tmp_path}/bot")
    assert run(code).stdout == "1\n"
    points = {"sqlite": "sqlite.*", "json": "json.commit.*"}[scheme]
    ran = run(code, QUANTKEEP_FAILPOINTS=f"{points}=ENOSPC")
    assert ran.stdout == "StoreFull\n1\n", ran.stderr
    ran = run(code, QUANTKEEP_FAILPOINTS=f"{points}=kill")
    assert (ran.returncode, ran.stdout) == (-signal.SIGKILL, "")
    assert run(code).stdout == "2\n"
