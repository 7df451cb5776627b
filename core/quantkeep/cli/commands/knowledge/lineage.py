"""``quantkeep lineage`` and ``effectiveness``: what was learned, and what came of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from quantkeep import documents
from quantkeep.cli.commands.knowledge._opening import knowledge_at
from quantkeep.cli.listing import Listing, integer, real, text
from quantkeep.cli.options import Output, examples, output_options, url_argument
from quantkeep.columns import Row
from quantkeep.errors import NotFound
from quantkeep.hosts import Hosts

if TYPE_CHECKING:
    from quantkeep.knowledge import DrawnConstraint, Figures, KnowledgeStore

_STEPS: Final = (
    text("step"),
    text("id"),
    text("says"),
    *map(integer, ("backtests", "pruned_by_it", "measured", "passed", "failures")),
    *map(real, ("mean", "median", "best")),
)
_NO_FIGURES: Final = (None,) * 8


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
    with knowledge_at(url) as knowledge:
        rows = [*_followed(knowledge, identifier, metric)]
    title = f"Lineage of {identifier}, by {metric}"
    shown = tuple(column.name for column in _STEPS)  # those that say anything
    out.show(Listing(title=title, columns=_STEPS, rows=rows, shown=shown))


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
        yield step, names or "no iteration", None, *_shown(figures, None)


def _shown(figures: "Figures", pruned_by_it: int | None) -> tuple[int | float | None, ...]:
    return (
        sum(figures.backtests.values()),
        pruned_by_it,
        figures.measured,
        figures.passed,
        sum(figures.failures.values()),
        figures.mean,
        figures.median,
        figures.best,
    )


# -- effectiveness ---------------------------------------------------------------------------------

_EFFECTS: Final = (
    text("constraint_set_id"),
    text("continues"),
    integer("iterations"),
    *(
        column(f"{when}_{name}")
        for when in ("before", "after")
        for column, name in ((integer, "measured"), (real, "mean"), (real, "median"))
    ),
    real("change"),
    real("median_change"),
)


@click.command(
    short_help="Show whether each constraint set helped.",
    epilog=examples(
        "effectiveness sqlite:///research.db",
        "effectiveness sqlite:///research.db --set cs-open-2 --metric score_total",
    ),
)
@url_argument
@click.option("--set", "sets", multiple=True, metavar="ID", help="Only this set; may be repeated.")
@click.option("--metric", default="sharpe_net", show_default=True, help="What results show.")
@output_options
def effectiveness(url: str | None, out: Output, sets: tuple[str, ...], metric: str) -> None:
    """Hold a metric under each constraint set against the iterations just before it.

    The median says more than the mean where a single absurd backtest would decide.
    """
    with knowledge_at(url) as knowledge:
        every = [each.constraint_set_id for each in knowledge.constraint_sets()]
        rows = [_effect(knowledge, each, metric) for each in sets or reversed(every)]
    out.show(Listing(title=f"Constraint sets, by {metric}", columns=_EFFECTS, rows=rows))


def _effect(knowledge: "KnowledgeStore", set_id: str, metric: str) -> Row:
    found = knowledge.effectiveness(set_id, metric=metric)
    figures = [
        figure
        for side in (found.before, found.after)
        for figure in (side.measured, side.mean, side.median)
    ]
    return (
        set_id,
        knowledge.constraint_set(set_id).base_constraint_set_id,
        len(found.after.iterations),
        *figures,
        found.change,
        found.median_change,
    )
