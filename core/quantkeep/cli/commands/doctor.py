"""``quantkeep doctor``: is this keep well?"""

from collections.abc import Iterator

import click

from quantkeep.cli.listing import Listing, text
from quantkeep.cli.options import Output, examples, output_options, url_argument
from quantkeep.cli.sentences import sentence
from quantkeep.cli.stored import Part, stored_keep
from quantkeep.columns import Row
from quantkeep.errors import Corrupt

COLUMNS = tuple(map(text, ("place", "verdict", "what", "found")))
PROBLEM = "problem"
KIT = ("failpoints",)  # facts that only the conformance kit asks for
EXAMPLES = examples(
    "doctor sqlite:///bot.db",
    """doctor --format json | jq '.[] | select(.verdict != "fact")'""",
)


@click.command(epilog=EXAMPLES)
@url_argument
@output_options
@click.pass_context
def doctor(ctx: click.Context, url: str | None, out: Output) -> None:
    """Examine the health of a keep.

    Shows what the engine says of itself, sizes, and the outcome of its integrity check.
    Facts are as observed now, not as configured. Warnings are worth reading and leave the exit
    code 0; problems make it 1. `quantkeep verify` reads every record as well.
    """
    rows = _examined(url)
    problems = sum(row[1] == PROBLEM for row in rows)
    caption = f"{problems or 'no'} problem{'' if problems == 1 else 's'} found"
    out.show(Listing(title="Doctor", columns=COLUMNS, rows=rows, caption=caption))
    if problems:
        ctx.exit(1)


def _examined(url: str | None) -> list[Row]:
    rows: list[Row] = []
    try:
        with stored_keep(url) as keep:
            for part in keep.parts:
                rows.extend(_findings(part))
    except Corrupt as error:  # what it was asked for: a finding, not a failure
        rows.append(("", PROBLEM, "damage", sentence(error)))
    return rows


def _findings(part: Part) -> Iterator[Row]:
    place, health = str(part.url), part.backend.health()
    yield place, "fact", "backend", part.backend.name
    yield place, "fact", "durability", health.durability.name.lower()
    for name, value in health.facts.items():
        if name not in KIT:
            yield place, "fact", name, str(value)
    for name, size in part.backend.sizes().items():
        if size and name in part.collections:
            yield place, "fact", f"rows of {name}", f"{size:,}"
    for warning in health.warnings:
        yield place, "warning", "health", warning
    if not health.ok:
        yield place, PROBLEM, "health", "the engine says that it is not well"
    yield from _integrity(part, place)


def _integrity(part: Part, place: str) -> Iterator[Row]:
    problems = part.backend.check()
    if problems is None:
        yield place, "fact", "integrity", "the engine has no check of its own"
    elif not problems:
        yield place, "good", "integrity", "the engine's own check found nothing"
    for problem in problems or ():
        yield place, PROBLEM, "integrity", problem
