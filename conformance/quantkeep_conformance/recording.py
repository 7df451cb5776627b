"""From pytest's reports to ours, clause by clause."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import pytest

from quantkeep import QuantkeepError
from quantkeep_conformance.clauses import Clause, name_of
from quantkeep_conformance.places import Claims, Place
from quantkeep_conformance.report import Report, Result, evidence_lines

# Keys of an item's user properties, which its reports carry, across processes too.
_CLAUSE: Final = "quantkeep clause"
_ASIDE: Final = "quantkeep not claimed"
_EVIDENCE: Final = "quantkeep evidence"

_LONGEST: Final = 2000  # characters of a reason


def mark(item: pytest.Item, clause: Clause) -> None:
    """Let the reports of *item* say which clause they are about, and ``-k`` find it by its id."""
    item.user_properties.append((_CLAUSE, [clause.id, clause.sentence, clause.broad]))
    item.extra_keyword_matches.add(clause.id)
    if clause.broad:
        item.extra_keyword_matches.add("broad")


def set_aside(item: pytest.Item, lacking: Sequence[str]) -> None:
    """Note that the clause of *item* is not claimed."""
    item.user_properties.append((_ASIDE, "not claimed: " + ", ".join(lacking)))


def evidence_of(item: pytest.Item) -> dict[str, object]:
    """A dict whose contents the reports of *item* will carry."""
    found: dict[str, object] = {}
    item.user_properties.append((_EVIDENCE, found))
    return found


class Recorder:
    """Gathers the report. Registered by the plugin, or given to ``pytest.main`` by who wants it.

    Args:
        tell: called with each result as it is known.
    """

    def __init__(self, tell: Callable[[Result], None] | None = None) -> None:
        self.report = Report()
        self._tell = tell
        self._knows_claims = False

    def learn(self, claims: Claims) -> None:
        """Take in what the backend claims."""
        self._knows_claims = True
        self.report.describe(
            {
                "backend": claims.backend,
                "level": claims.level.name.lower(),
                "capabilities": [name_of(flag) for flag in claims.capabilities],
            }
        )

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        place = getattr(item, "funcargs", {}).get("place")
        if isinstance(place, Place) and not self._knows_claims:
            with suppress(QuantkeepError):  # the test has said what is wrong
                self.learn(place.claims)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.report.broken.append(report.longreprtext)

    def pytest_internalerror(self, excrepr: object) -> None:
        self.report.broken.append(str(excrepr))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = dict(report.user_properties)
        if _CLAUSE not in said:
            return
        clause, sentence, broad = _listed(said[_CLAUSE])
        result = self.report.result(clause, sentence, broad=broad)
        if report.when == "call" or report.failed or report.skipped:
            self._judge(result, report, said)

    def _judge(self, result: Result, report: pytest.TestReport, said: dict[str, Any]) -> None:
        result.evidence.update(said.get(_EVIDENCE, {}))
        if report.failed:
            result.failed(_variant(report) + _reason(report))
        elif report.skipped:
            result.failed("was skipped, which is no verdict")
        elif _ASIDE in said:
            result.not_claimed(said[_ASIDE])
        else:
            result.passed()
        if self._tell is not None:
            self._tell(result)

    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        properties = dict(getattr(report, "user_properties", ()))
        if report.when == "call" and report.passed and _ASIDE in properties:
            return "not claimed", "n", "NOT CLAIMED"
        return None

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        report = self.report
        if not report.results:
            return
        terminalreporter.section(f"conformance of {report.backend or 'the backend'}")
        terminalreporter.line(f"level {report.level}; claims {', '.join(report.capabilities)}")
        for line in evidence_lines(report):
            terminalreporter.line(line)
        for result in report.of("not_claimed"):
            terminalreporter.line(f"{result.clause}: {result.reason}")
        terminalreporter.line(
            f"clauses: {len(report.of('passed'))} passed, {len(report.of('failed'))} failed, "
            f"{len(report.of('not_claimed'))} not claimed; seed {report.seed}"
        )


def _listed(value: Any) -> tuple[str, str, bool]:
    clause, sentence, broad = value
    return str(clause), str(sentence), bool(broad)


def _variant(report: pytest.TestReport) -> str:
    """Which of several checks of one clause it was: ``[Entry] ``."""
    _, bracket, name = report.nodeid.partition("[")
    return f"[{name.removesuffix(']')}] " if bracket else ""


def _reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash is not None else report.longreprtext
    lines = [line for line in message.splitlines() if line.strip()]
    first = lines[0].removeprefix("AssertionError: ") if lines else "failed"
    return first if len(first) <= _LONGEST else first[:_LONGEST] + "..."
