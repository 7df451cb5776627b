"""What every test of the repository shares: no silent skips, and where recorded data is."""

import os
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

NO_SKIP = os.environ.get("QUANTKEEP_TEST_NO_SKIP") == "1"
REAL_DATA = os.environ.get("QUANTKEEP_REAL_DATA")

Report = pytest.CollectReport | pytest.TestReport


@pytest.fixture(scope="session")
def seed() -> int:
    """What a test draws from: the same each time, unless QUANTKEEP_TEST_SEED says another."""
    return int(os.environ.get("QUANTKEEP_TEST_SEED", "1"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of recorded runs of other systems; where there is none, its tests are left out."""
    folder = Path(REAL_DATA or "")
    assert folder.is_absolute(), "QUANTKEEP_REAL_DATA must be an absolute path"
    assert folder.is_dir(), f"QUANTKEEP_REAL_DATA is no folder: {folder}"
    return folder


def pytest_configure(config: pytest.Config) -> None:
    """A gate that draws anew each time fails by luck: only long campaigns do (-m soak).

    How long an example takes is no finding: it is the machine's affair.
    """
    hypothesis.settings.register_profile(
        "quantkeep",
        derandomize=config.getoption("markexpr") != "soak",
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("quantkeep")


def pytest_report_header(config: pytest.Config) -> list[str]:
    reason = _no_faults(config)
    return [
        f"real data: {REAL_DATA or 'QUANTKEEP_REAL_DATA is not set, its tests are deselected'}",
        *([f"faults: not run: {reason}"] if reason else []),
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if _is_left_out(item, config)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item, config: pytest.Config) -> bool:
    if not REAL_DATA and "real_data" in getattr(item, "fixturenames", ()):
        return True
    return item.get_closest_marker("faults") is not None and bool(_no_faults(config))


def _no_faults(config: pytest.Config) -> str | None:
    """Why this user, on this machine, cannot make the faults that were asked for (Z-18)."""
    if config.getoption("markexpr") != "faults":
        return None
    if os.geteuid() != 0:
        return "they mount file systems of their own, which needs root"
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
        tried = subprocess.run(mount, capture_output=True, text=True, check=False)
        if tried.returncode:
            return f"this root may not mount: {tried.stderr.strip()}"
        subprocess.run(["umount", folder], check=True)
    return None


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and _no_faults(session.config):
        session.exitstatus = pytest.ExitCode.OK


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: Report) -> None:
    """What does not run must be deselected by name, or fail: a skip hides among the dots."""
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"a skip, where none is allowed: {report.longrepr}"
