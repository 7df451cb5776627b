"""The command line as a user has it: arguments in, exit code and text out."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

import quantkeep
from quantkeep import record
from quantkeep.cli import main
from quantkeep.tape import EquityPoint, Trade

MONDAY = datetime(2025, 1, 20, tzinfo=UTC)


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self):
        return json.loads(self.out)


@pytest.fixture
def cli(capsys):
    def run(*arguments):
        code = main([*map(str, arguments)])
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def process():
    """The same in a process of its own."""

    def run(*arguments, **environment):
        command = [sys.executable, "-m", "quantkeep", *map(str, arguments)]
        ran = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
            env={**os.environ, **environment},
        )
        return Result(ran.returncode, ran.stdout, ran.stderr)

    return run


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("QUANTKEEP_")]:
        if name.endswith("_URL") or name in {"QUANTKEEP_TRACEBACK", "QUANTKEEP_DISABLE_PLUGINS"}:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@record(indexes=[("desk",)])
class DeskTrade(Trade):
    """A trade with a field of the user's own."""

    desk: str | None = None


def trade(hour, **fields: Any):
    given: dict[str, Any] = {
        "mode": "paper",
        "timestamp": MONDAY + timedelta(hours=hour),
        "symbol": "BTC/USDT",
        "side": "LONG",
        "action": "OPEN",
        "qty": 0.1,
        "fill_price": 100.0 + hour,
    }
    return DeskTrade(**{**given, **fields})


@pytest.fixture
def scheme():
    """The backend that the keep is on."""
    return "sqlite"


@pytest.fixture
def url(tmp_path, scheme):
    """A keep with five trades, three of them paper, and a field only its writer has a class for."""
    url = f"{scheme}:///{tmp_path / 'bot.db'}"
    with quantkeep.open(url, records=[DeskTrade]) as keep:
        keep.tape.append(
            trade(0, desk="fx"),
            trade(1, desk="=HYPERLINK(1)", symbol="ETH/USDT"),
            trade(2, mode="live", account="second", raw_data={"id": 2**60, "rate": float("nan")}),
            trade(3, desk="crypto"),
            trade(4, mode="live"),
            EquityPoint(mode="paper", timestamp=MONDAY, total_equity=10_000.0),
        )
    return url
