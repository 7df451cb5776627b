"""``quantkeep backtests verify``: is every result what was saved?"""

import click

from quantkeep.cli.commands.backtests._options import TASKS
from quantkeep.cli.listing import Listing, integer, text
from quantkeep.cli.options import Output, examples, output_options, url_argument
from quantkeep.cli.sentences import counted
from quantkeep.columns import Row


@click.command(
    epilog=examples("backtests verify sqlite:///research.db", "backtests verify -t 550e8400-...")
)
@url_argument
@TASKS
@output_options
@click.pass_context
def verify(ctx: click.Context, url: str | None, out: Output, tasks: tuple[str, ...]) -> None:
    """Read every result, and hold it against what was saved.

    Digests, ETags, counts of rows, schemas, and the order of each symbol's rows in time. Problems
    make the exit code 1.
    """
    import quantkeep

    with quantkeep.open(url, create=False, read_only=True) as keep:
        store = keep.backtests
        checks = [store.verify(t) for t in tasks] if tasks else [*store.verify_all()]
    rows: list[Row] = [
        (
            str(c.task_id),
            sum(c.rows.values()),
            c.bytes,
            len(c.problems),
            "; ".join(c.problems) or None,
        )
        for c in checks
    ]
    problems = sum(len(c.problems) for c in checks)
    columns = (text("task_id"), *map(integer, ("rows", "bytes", "problems")), text("found"))
    caption = f"{counted(len(checks), 'result')}, {counted(problems, 'problem')}"
    out.show(Listing(title="Verify", columns=columns, rows=rows, caption=caption))
    if problems:
        ctx.exit(1)
