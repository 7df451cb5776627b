"""A server that is killed, a fallback that steps in, and what was written there coming back."""

from datetime import UTC, datetime

import pytest

import quantkeep
from quantkeep.cli import main
from quantkeep.errors import Unmerged
from quantkeep.tape import EquityPoint
from quantkeep.url import Url
from quantkeep_conformance import servers

pytestmark = pytest.mark.requirement("Z-39")


@pytest.fixture(scope="module", params=["postgresql", "redis"])
def server(request):
    """One of our own, which may be killed."""
    with servers.started(request.param) as server:
        yield server


@pytest.fixture
def configured(server, tmp_path):
    """A configuration whose commands and programs fall back."""
    file, fallback = tmp_path / "quantkeep.toml", f"json:///{tmp_path}/fallback"
    file.write_text(f'default = "{server.store}"\nfallback = "{fallback}"\nfallback_on = "loss"\n')
    return str(file)


def point(equity):
    at = datetime(2025, 1, 20, tzinfo=UTC)
    return EquityPoint(mode="paper", uid=f"{equity}", timestamp=at, total_equity=equity)


def listed(file, capsys):
    """What a command shows, and what it says of it."""
    assert main(["equity", file, "--format", "csv", "--columns", "total_equity"]) == 0
    out, err = capsys.readouterr()
    return [float(line) for line in out.splitlines()[1:]], err


def test_killed_while_it_is_open_and_back_again(server, configured, tmp_path, capsys):
    fallback = f"json:///{tmp_path}/fallback"
    with quantkeep.open(configured) as keep:
        keep.tape.append(point(1.0))
        assert listed(configured, capsys) == ([1.0], "")
        server.process.crash()
        keep.tape.append(point(2.0))
    with quantkeep.open(configured) as keep:
        keep.tape.append(point(3.0))
        assert "fallback_for" in next(iter(keep.health().values())).facts
    found, said = listed(configured, capsys)
    assert found == [2.0, 3.0]
    assert f"quantkeep: {Url.parse(server.store)} cannot be reached" in said
    assert "quantkeep merge json:///" in said
    assert main(["upgrade", configured]) == 2, "another place is not upgraded instead"
    assert main(["compact", configured]) == 2, "another place is not cleaned up instead"
    assert "cannot be reached" in capsys.readouterr().err
    server.process.revive()
    with pytest.raises(Unmerged):
        quantkeep.open(configured)
    found, said = listed(configured, capsys)
    assert found == [1.0]
    assert "holds 2 records that were written while" in said
    for merged in ("2", None):
        assert main(["merge", fallback, "--into", configured, "--format", "csv"]) == 0
        lines = capsys.readouterr().out.splitlines()[1:]
        assert [line.split(",")[1] for line in lines] == ([merged] if merged else [])
    with quantkeep.open(configured) as keep:
        assert [e.total_equity for e in keep.tape.equity(mode="paper")] == [1.0, 2.0, 3.0]
