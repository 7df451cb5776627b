"""The outcome of a run: which clauses hold, which do not and why, which were not claimed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

Verdict = Literal["passed", "failed", "not_claimed"]


@attrs.define
class Result:
    """What is known of one clause; it may be checked several times, on different records."""

    clause: str
    sentence: str
    broad: bool = False
    verdict: Verdict = "not_claimed"
    reasons: list[str] = attrs.field(factory=list)
    evidence: dict[str, Any] = attrs.field(factory=dict)

    def passed(self) -> None:
        """It held."""
        if self.verdict != "failed":
            self.verdict = "passed"

    def failed(self, reason: str) -> None:
        """It did not."""
        self.verdict = "failed"
        self.reasons.append(reason)

    def not_claimed(self, reason: str) -> None:
        """It did not apply."""
        if reason not in self.reasons:
            self.reasons.append(reason)

    @property
    def reason(self) -> str:
        """Why it failed or was not claimed, in a line."""
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return self.reasons[0] + more if self.reasons else ""


@attrs.define
class Report:
    """A run of the kit on one backend."""

    backend: str = ""
    level: str = ""
    capabilities: tuple[str, ...] = ()
    seed: int = 0
    rounds: float = 1
    results: dict[str, Result] = attrs.field(factory=dict)
    broken: list[str] = attrs.field(factory=list)  # what kept the kit itself from running

    def result(self, clause: str, sentence: str = "", *, broad: bool = False) -> Result:
        """The result of *clause*, begun if it is new."""
        return self.results.setdefault(clause, Result(clause, sentence, broad))

    def of(self, verdict: Verdict) -> list[Result]:
        """The results with this *verdict*, in the order in which they were reached."""
        return [r for r in self.results.values() if r.verdict == verdict]

    @property
    def conforms(self) -> bool:
        """Whether every clause that is claimed holds, and there was one."""
        return bool(self.of("passed")) and not self.of("failed") and not self.broken

    def describe(self, claims: Mapping[str, Any]) -> None:
        """Take in what the backend claims."""
        self.backend = claims["backend"]
        self.level = claims["level"]
        self.capabilities = tuple(claims["capabilities"])

    def as_dict(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "backend": self.backend,
            "level": self.level,
            "capabilities": [*self.capabilities],
            "passed": _names(self.of("passed")),
            "failed": [{"clause": r.clause, "reason": r.reason} for r in self.of("failed")],
            "not_claimed": _names(self.of("not_claimed")),
            "evidence": {r.clause: r.evidence for r in self.results.values() if r.evidence},
            "seed": self.seed,
            "rounds": self.rounds,
        }

    def to_json(self) -> str:
        """The same as text."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"


def _names(results: Iterable[Result]) -> list[str]:
    return [result.clause for result in results]


def evidence_lines(report: Report) -> list[str]:
    """Counts that clauses reported, a line for each clause."""
    return [
        f"{result.clause}: " + ", ".join(f"{k} {v}" for k, v in result.evidence.items())
        for result in report.results.values()
        if result.evidence
    ]
