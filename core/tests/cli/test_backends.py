"""What is installed, whatever state it is in."""

import pytest

BROKEN = "raise RuntimeError('the vendor library is too old')"


@pytest.fixture
def strange(tmp_path, process):
    """Runs the command line with a stranger's backends installed."""
    folder = tmp_path / "site"

    def run(*arguments, requires=(), **modules):
        facts = folder / "strangers-1.0.dist-info"
        facts.mkdir(parents=True)
        asked = "".join(f"Requires-Dist: {line}\n" for line in requires)
        metadata = f"Metadata-Version: 2.1\nName: strangers\nVersion: 1.0\n{asked}"
        facts.joinpath("METADATA").write_text(metadata)
        entries = "\n".join(f"{name} = stranger_{name}" for name in modules)
        facts.joinpath("entry_points.txt").write_text(f"[quantkeep.backends]\n{entries}\n")
        for name, code in modules.items():
            folder.joinpath(f"stranger_{name}.py").write_text(code)
        result = process(*arguments, PYTHONPATH=str(folder))
        return result, {row["scheme"]: row for row in result.rows}

    return run


def test_the_built_in_ones_are_listed_with_what_they_promise(cli):
    rows = {row["scheme"]: row for row in cli("backends", "-f", "json").rows}
    assert rows["memory"]["durability"] == "memory"
    assert rows["memory"]["example"] == "memory://"
    assert rows["sqlite"]["durability"] == "disk"
    assert "persistent" in rows["sqlite"]["capabilities"].split()
    assert rows["sqlite"]["driver"] == "present"
    assert rows["sqlite"]["error"] is None


def test_a_broken_one_is_listed_with_its_error_and_breaks_nothing(strange):
    result, rows = strange("backends", "-f", "json", vendor=BROKEN, mute="")
    assert result.code == 0
    assert rows["vendor"]["error"] == "RuntimeError: the vendor library is too old"
    assert "does not answer" in rows["mute"]["error"]
    assert rows["memory"]["error"] is None


def test_a_missing_driver_is_said_with_the_command_that_installs_it(strange):
    requires = [
        "a-missing-driver>=2 ; extra == 'vendor'",
        'click ; extra == "vendor"',
        "other ; extra == 'x'",
    ]
    _, rows = strange("backends", "-f", "json", requires=requires, vendor="import a_missing_driver")
    assert rows["vendor"]["driver"] == "missing: a-missing-driver; pip install 'strangers[vendor]'"
    assert rows["vendor"]["error"].startswith("ModuleNotFoundError")


SAYING = """
from quantkeep.backend import Capability, Durability
from quantkeep.hookspecs import BackendInfo, hookimpl

@hookimpl
def quantkeep_backend():
    transports = {"tape": Capability(0), "disk": Capability(0), "net": Capability(0)}
    return BackendInfo(
        "vendor", "", "vendor:///x", Capability(0), Durability.DISK, transports=transports
    )
"""


def test_a_driver_that_only_a_transport_needs_is_said_of_that_transport(strange):
    requires = [
        "click ; extra == 'vendor'",
        "click ; extra == 'vendor-disk'",
        "a-missing-driver>=2 ; extra == 'vendor-net'",
        "another ; extra == 'vendor-test'",
    ]
    _, rows = strange("backends", "-f", "json", requires=requires, vendor=SAYING)
    assert rows["vendor"]["driver"] == (
        "present; for vendor+net://: pip install 'strangers[vendor-net]'"
    )
    assert rows["vendor"]["error"] is None


def test_a_table_is_for_people(cli):
    out = cli("backends").out
    assert "memory://" in out
    assert "gone with the process" in out
