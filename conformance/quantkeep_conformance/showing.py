"""A run of the kit on a terminal: progress while it runs, then a table of all clauses."""

import sys
import time
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from quantkeep.url import Url
from quantkeep_conformance.report import Report, Result, Verdict, evidence_lines
from quantkeep_conformance.running import run

_MARKS: dict[Verdict, tuple[str, str]] = {
    "passed": ("passed", "green"),
    "failed": ("FAILED", "bold red"),
    "not_claimed": ("not claimed", "yellow"),
}
_WIDE = 200


def shown_while(url: str | None, **asked: Any) -> Report:
    """Run the kit as asked of :func:`run`, showing progress; print the report, and return it."""
    begun = time.monotonic()
    columns = SpinnerColumn(), TextColumn("{task.completed} checks, {task.description}")
    with Progress(
        *columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task("opening")

        def tell(result: Result) -> None:
            bar.update(task, advance=1, description=result.clause)

        report = run(url, tell=tell, **asked)
    show(report, _named(url, asked.get("server")), time.monotonic() - begun)
    return report


def _named(url: str | None, server: str | None) -> str:
    return str(Url.parse(url)) if url and not server else f"{url or 'a keep'} on {server}"


def show(report: Report, name: str, seconds: float) -> None:
    """Print the table, what was counted, and the verdict."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:  # a file has no edge to cut names at
        console.width = _WIDE
    console.print(_table(report.results.values(), f"Conformance of {name}"))
    for line in evidence_lines(report):
        console.print(Text(line, "dim"))
    claims = ", ".join(report.capabilities) or "nothing beyond the contract"
    console.print(f"\nbackend {report.backend}; level {report.level}; claims {claims}")
    _show_failures(report, console)
    passed, failed, aside = (report.of(v) for v in ("passed", "failed", "not_claimed"))
    console.print(
        f"{len(passed)} clauses passed, {len(failed)} failed, {len(aside)} not claimed in "
        f"{seconds:.0f} s; seed {report.seed}, rounds {report.rounds}"
    )


def _show_failures(report: Report, console: Console) -> None:
    """Once more, whole and at the end, where they are looked for."""
    for result in report.of("failed"):
        for reason in result.reasons:
            said = Text.assemble(_MARKS["failed"], f" {result.clause}: {reason}")
            console.print(said, soft_wrap=True)


def _table(results: Iterable[Result], title: str) -> Table:
    clause = Column("clause", overflow="fold")
    table = Table(clause, "result", "what it says, or why not", title=title, title_justify="left")
    for _, family in groupby(results, key=lambda result: result.clause.partition(".")[0]):
        for result in family:
            word, style = _MARKS[result.verdict]
            said = result.sentence if result.verdict == "passed" else result.reason
            table.add_row(result.clause, Text(word, style), Text(said))
        table.add_section()
    return table
