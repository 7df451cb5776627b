"""``quantkeep failures``, ``strategies``, ``lineage``: what was tried, and what was learned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from quantkeep import documents
from quantkeep.cli.listing import Listing, integer, text
from quantkeep.cli.options import Moment, Output, examples, output_options, url_argument
from quantkeep.columns import Column, Kind, Row, microseconds
from quantkeep.errors import NotFound
from quantkeep.hosts import Hosts

if TYPE_CHECKING:
    from quantkeep.knowledge import DrawnConstraint, Figures, KnowledgeStore

F = TypeVar("F", bound=Callable[..., Any])

STATES: Final = ("OPEN", "CONFIRMED", "RESOLVED", "DEPRECATED")


@contextmanager
def _knowledge(url: str | None) -> "Iterator[KnowledgeStore]":
    """The knowledge of the keep at *url*, to be looked into."""
    import quantkeep

    with quantkeep.open(url, create=False, migrate=False, read_only=True) as keep:
        yield keep.knowledge


def _top(command: F) -> F:
    return click.option(
        "--top", "-n", type=click.IntRange(min=1), default=10, show_default=True, help="How many."
    )(command)


def _moment(name: str) -> Column:
    return Column(name=name, kind=Kind.TIMESTAMP, nullable=True)


def _real(name: str) -> Column:
    return Column(name=name, kind=Kind.REAL, nullable=True)


# -- failures --------------------------------------------------------------------------------------


@click.command(
    epilog=examples(
        "failures sqlite:///research.db --top 5",
        "failures sqlite:///research.db --by category --state OPEN --since 30d",
    )
)
@url_argument
@_top
@click.option("--by", type=click.Choice(("tag", "category")), default="tag", show_default=True)
@click.option("--category", help="Only failures of this category.")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only these.")
@click.option("--since", type=Moment(), help="Only those noted from this moment on.")
@output_options
def failures(
    url: str | None,
    out: Output,
    *,
    top: int,
    by: Any,
    category: str | None,
    states: tuple[str, ...],
    since: datetime | None,
) -> None:
    """Show what fails most often, by tag or by category."""
    with _knowledge(url) as knowledge:
        found = knowledge.repeat_failures(
            top, by=by, category=category, states=states or None, since=since
        )
    rows = [(f.label, f.count, microseconds(f.first_at), microseconds(f.last_at)) for f in found]
    columns = (text(by), integer("failures"), _moment("first_at"), _moment("last_at"))
    out.show(Listing(title="Repeat failures", columns=columns, rows=rows))


# -- strategies ------------------------------------------------------------------------------------


@click.command(
    epilog=examples(
        "strategies sqlite:///research.db --top 5",
        "strategies sqlite:///research.db --by max_drawdown_net --passed",
        "strategies sqlite:///research.db --by 'Sharpe Ratio' --format json",
    )
)
@url_argument
@_top
@click.option("--by", default="score_total", show_default=True, help="Any metric that is stored.")
@click.option(
    "--best", type=click.Choice(("greatest", "least")),
    help="Which end is best; the least for drawdown and volatility, else the greatest.",
)  # fmt: skip
@click.option("--passed", is_flag=True, help="Only backtests whose score passed.")
@output_options
def strategies(
    url: str | None,
    out: Output,
    *,
    top: int,
    by: str,
    best: Any,
    passed: bool,
) -> None:
    """Show the top strategies by a metric, each by its best backtest.

    A metric is score_total, a field of the metrics (sharpe_net, max_drawdown_net, cagr ...), or any
    number that a backtest's own statistics name. One that is not stored is answered by those that
    are.
    """
    with _knowledge(url) as knowledge:
        rows = [*_ranked(knowledge, top, by, best, passed or None)]
    columns = (
        integer("rank"),
        text("strategy_id"),
        _real("value"),
        text("backtest_id"),
        text("created_from"),
        Column(name="spec", kind=Kind.DOCUMENT, nullable=True),
    )
    out.show(Listing(title=f"Top strategies by {by}", columns=columns, rows=rows))


def _ranked(
    knowledge: "KnowledgeStore", top: int, by: str, best: Any, passed: bool | None
) -> Iterator[Row]:
    found = knowledge.top_strategies(top, by=by, best=best, passed=passed)
    for rank, each in enumerate(found, start=1):
        strategy = knowledge.strategy(each.strategy_id)
        yield (
            rank,
            each.strategy_id,
            float(each.value),
            each.backtest_id,
            strategy.created_from,
            documents.encode(strategy.normalized_spec, Hosts()),
        )


# -- lineage ---------------------------------------------------------------------------------------

_STEPS: Final = (
    text("step"),
    text("id"),
    text("says"),
    *map(integer, ("backtests", "pruned_by_it", "measured", "passed", "failures")),
    _real("mean"),
    _real("best"),
)
_NO_FIGURES: Final = (None,) * 7


@click.command(
    epilog=examples(
        "lineage sqlite:///research.db 399d0729-f49b-543d-9e30-20aed07c0698",
        "lineage sqlite:///research.db cs-open-2 --metric score_total",
    )
)
@url_argument
@click.argument("identifier", metavar="ID", required=False)
@click.option("--metric", default="sharpe_net", show_default=True, help="What results show.")
@output_options
def lineage(url: str | None, out: Output, identifier: str | None, metric: str) -> None:
    """Follow a failure, or a constraint set, to what came of it.

    ID is a failure's: the constraints it led to, the sets that have them, the iterations that
    applied those, their results. Or a constraint set's: the sets it continues, its constraints
    with the failures behind them, and the results before and under it.
    """
    if identifier is None:  # the configuration names the keep
        url, identifier = None, url
    if identifier is None:
        raise click.UsageError("Missing argument 'ID'.")
    with _knowledge(url) as knowledge:
        rows = [*_followed(knowledge, identifier, metric)]
    out.show(Listing(title=f"Lineage of {identifier}, by {metric}", columns=_STEPS, rows=rows))


def _followed(knowledge: "KnowledgeStore", identifier: str, metric: str) -> Iterator[Row]:
    try:
        steps = [*_from_failure(knowledge, identifier, metric)]
    except NotFound:
        try:
            steps = [*_from_set(knowledge, identifier, metric)]
        except NotFound:
            raise NotFound(
                f"{identifier!r} is neither a failure nor a constraint set of this keep"
            ) from None
    yield from steps


def _from_failure(knowledge: "KnowledgeStore", failure_id: str, metric: str) -> Iterator[Row]:
    found = knowledge.lineage(failure_id, metric=metric)
    failure = found.failure
    yield "failure", failure_id, f"{failure.category}: {failure.summary}", *_NO_FIGURES
    for drawn in found.constraints:
        yield from _from_constraint(drawn)


def _from_constraint(drawn: "DrawnConstraint") -> Iterator[Row]:
    constraint = drawn.constraint
    said = f"{constraint.type} {documents.encode(constraint.params, Hosts())}"
    name = f"{constraint.constraint_set_id}/{constraint.constraint_id}"
    yield "constraint", name, said, *_NO_FIGURES
    for set_id in drawn.carried_by:
        yield "set", set_id, f"has {constraint.constraint_id}", *_NO_FIGURES
    for applied in drawn.applied_in:
        iteration = applied.iteration
        name = f"{iteration.run_id}/{iteration.iteration_id}"
        said = f"applied {iteration.constraint_set_id_applied}"
        yield "iteration", name, said, *_shown(applied.figures, applied.pruned_by_it)


def _from_set(knowledge: "KnowledgeStore", set_id: str, metric: str) -> Iterator[Row]:
    found = knowledge.set_lineage(set_id, metric=metric)
    for each in found.chain:
        base = each.base_constraint_set_id
        yield (
            "set",
            each.constraint_set_id,
            f"continues {base}" if base else "is first",
            *_NO_FIGURES,
        )
    for constraint, proofs in found.constraints:
        said = f"{constraint.type} {documents.encode(constraint.params, Hosts())}"
        yield (
            "constraint",
            constraint.constraint_id,
            f"{said}: {len(proofs)} failures",
            *_NO_FIGURES,
        )
    effect = knowledge.effectiveness(set_id, metric=metric)
    for step, figures in (("before", effect.before), ("under it", effect.after)):
        names = ", ".join(f"{run}/{number}" for run, number in figures.iterations)
        yield step, names, f"median {figures.median}", *_shown(figures, None)


def _shown(figures: "Figures", pruned_by_it: int | None) -> tuple[int | float | None, ...]:
    return (
        sum(figures.backtests.values()),
        pruned_by_it,
        figures.measured,
        figures.passed,
        sum(figures.failures.values()),
        figures.mean,
        figures.best,
    )
