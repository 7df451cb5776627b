"""``quantkeep backtests cleanup`` and ``gc``: old results, and what nothing refers to any more."""

from datetime import timedelta
from typing import Final

import click

from quantkeep.cli.listing import Listing, text, timestamp
from quantkeep.cli.options import Age, Output, examples, output_options, url_argument
from quantkeep.cli.sentences import counted
from quantkeep.columns import Row, microseconds

_DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Only say what would go.")


@click.command(
    epilog=examples(
        "backtests cleanup sqlite:///research.db --older-than 7d --dry-run",
        "backtests cleanup sqlite:///research.db --older-than 30d && quantkeep backtests gc",
    )
)
@url_argument
@click.option("--older-than", type=Age(), required=True, metavar="AGE", help="90m, 24h, 7d, 2w.")
@_DRY_RUN
@output_options
def cleanup(url: str | None, out: Output, *, older_than: timedelta, dry_run: bool) -> None:
    """Delete the results older than AGE; one of exactly that age stays.

    Their files go with `backtests gc`, when its grace period is over.
    """
    import quantkeep

    with quantkeep.open(url, create=False, read_only=dry_run) as keep:
        removed = keep.backtests.cleanup(older_than, dry_run=dry_run)
    rows: list[Row] = [
        (str(each.task_id), each.parquet_path, microseconds(each.created_at)) for each in removed
    ]
    columns = (text("task_id"), text("parquet_path"), timestamp("created_at"))
    said = "would be removed" if dry_run else "removed"
    out.show(
        Listing(
            title="Cleanup",
            columns=columns,
            rows=rows,
            caption=f"{counted(len(rows), 'result')} {said}",
        )
    )


@click.command(
    epilog=examples("backtests gc sqlite:///research.db", "backtests gc --grace 1h --dry-run")
)
@url_argument
@click.option(
    "--grace", type=Age(), default="24h", show_default=True, metavar="AGE",
    help="Leave alone what is younger; longer than any save or read takes.",
)  # fmt: skip
@_DRY_RUN
@output_options
def gc(url: str | None, out: Output, *, grace: timedelta, dry_run: bool) -> None:
    """Remove the files of deleted results, and what failed saves left behind."""
    import quantkeep

    with quantkeep.open(url, create=False, read_only=dry_run) as keep:
        found = keep.backtests.gc(grace=grace, dry_run=dry_run)
    rows: list[Row] = [("result", str(task)) for task in found.tombstones]
    rows.append(("pieces", f"{found.chunks:,}"))
    said = "would be removed" if dry_run else "removed"
    caption = f"{counted(len(found.tombstones), 'result')}, {counted(found.chunks, 'piece')} {said}"
    columns = (text("what"), text("which"))
    out.show(Listing(title="Garbage", columns=columns, rows=rows, caption=caption))
