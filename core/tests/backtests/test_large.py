"""A million signals in and out, in the memory of a few row groups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "programs" / "million.py"


def passed(tmp_path: Path, rows: int) -> dict[str, int]:
    """What a process of its own says that saved and read so many; its peak is the kernel's word."""
    command = [sys.executable, str(WORKER), f"sqlite:///{tmp_path}/{rows}.db", str(rows)]
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    ended = subprocess.run(
        command, env=environment, check=True, timeout=300, capture_output=True, text=True
    )
    return {key: int(value) for key, value in (each.split("=") for each in ended.stdout.split())}


@pytest.mark.requirement("BT-13", "BT-26", "BT-11", api="BacktestStore.save_result")
def test_a_million_signals_pass_in_bounded_memory(tmp_path):
    few, many = passed(tmp_path, 200_000), passed(tmp_path, 1_000_000)
    assert many["rows"] == many["read"] == 1_000_000
    assert many["file"] > 20_000_000  # signals that hardly compress
    assert many["arrow"] > 80_000_000  # what all of them take in Arrow
    assert many["peak"] < few["peak"] + many["arrow"] / 3  # five times the rows, the same memory
    assert many["peak"] < 150_000_000
