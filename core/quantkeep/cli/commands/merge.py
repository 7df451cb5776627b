"""``quantkeep merge``: what was written to a fallback comes back."""

from typing import Literal

import click

from quantkeep.cli.listing import Listing, integer, text
from quantkeep.cli.options import Output, examples, output_options
from quantkeep.cli.progress import bars
from quantkeep.merging import MergeReport

MERGED = (text("collection"), *map(integer, ("added", "equal", "replaced", "dropped")))
CONFLICTS = (text("collection"), text("key"), text("why"))
EXAMPLES = examples(
    "merge json:///fallback --into postgresql://localhost/bot",
    "merge json:///fallback --into quantkeep.toml",
)


@click.command(epilog=EXAMPLES)
@click.argument("fallback")
@click.option(
    "--into", "into", metavar="URL", help="Where it comes back to. [default: as configured]"
)
@click.option(
    "--prefer",
    type=click.Choice(["fallback", "primary"]),
    help="Whose record wins where both have one, and they differ. Without it, neither.",
)
@click.option("--steal", is_flag=True, help="Take sessions from processes that still hold them.")
@output_options
@click.pass_context
def merge(
    ctx: click.Context,
    fallback: str,
    into: str | None,
    out: Output,
    *,
    prefer: Literal["fallback", "primary"] | None,
    steal: bool,
) -> None:
    """Bring back what was written to a FALLBACK while the keep could not be reached.

    Adds what the keep lacks, overwrites nothing, and empties FALLBACK of what arrived. Can be
    interrupted, and repeated: nothing comes twice. Records that differ on both sides are
    conflicts: they are listed, stay in FALLBACK, and make the exit code 1.
    """  # fmt: skip
    from quantkeep import merging

    with bars():
        report = merging.merge(fallback, into, prefer=prefer, steal=steal)
    if report.complete:
        out.show(_merged(report))
        return
    click.echo(_sentence(report), err=True)
    out.show(_conflicts(report))
    ctx.exit(1)


def _sentence(report: MergeReport) -> str:
    merged = sum((report.added + report.replaced + report.equal + report.dropped).values())
    return f"{merged:,} records merged; {len(report.conflicts):,} are in conflict, and were left"


def _merged(report: MergeReport) -> Listing:
    names = sorted({*report.added, *report.equal, *report.replaced, *report.dropped})
    rows = [
        (name, report.added[name], report.equal[name], report.replaced[name], report.dropped[name])
        for name in names
    ]
    return Listing(title="Merged", columns=MERGED, rows=rows, caption="nothing is left to merge")


def _conflicts(report: MergeReport) -> Listing:
    rows = [(c.collection, ", ".join(map(str, c.key)), c.why) for c in report.conflicts]
    caption = "compare them, then merge again with --prefer fallback or --prefer primary"
    return Listing(title="Conflicts", columns=CONFLICTS, rows=rows, caption=caption)
