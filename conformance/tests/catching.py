"""Whether the kit finds a defect: by the clauses that are meant for it, and by no other."""

import atexit
from collections.abc import Callable, Collection
from functools import partial

from quantkeep_conformance import running
from quantkeep_conformance.nursery import Nursery
from quantkeep_conformance.report import Report

TRIES = 8
NURSERY = Nursery()  # for all runs of these tests
atexit.register(NURSERY.close)

run = partial(running.run, nursery=NURSERY)


def failed(report: Report) -> dict[str, str]:
    """The clauses that failed, with the reasons."""
    return {result.clause: result.reason for result in report.of("failed")}


def assert_caught(
    check: Callable[[str, int], Report],
    select: str,
    clauses: Collection[str],
    perhaps: Collection[str] = (),
) -> None:
    """Fail unless *clauses* fail and, of the others that *select* takes, *perhaps* some.

    A race is lost by chance and by the speed of the machine, so what should have failed and has
    not is tried again, from other seeds. What should not have failed has no second try.

    Args:
        check: gives the report on the clauses selected, drawn from a seed.
        select: as pytest's ``-k``.
        clauses: the ids of those that must fail.
        perhaps: of those that may.
    """
    found = failed(check(select, 0))
    for seed in range(1, TRIES):
        if missing := {*clauses} - {*found}:
            found |= failed(check(" or ".join(sorted(missing)), seed))
    assert {*clauses} <= {*found} <= {*clauses, *perhaps}, found
