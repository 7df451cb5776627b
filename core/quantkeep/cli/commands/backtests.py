"""``quantkeep backtests``: list results, look into them, export, check, retire them."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from quantkeep.cli.listing import Listing, integer, text
from quantkeep.cli.options import (
    Age,
    Moment,
    Output,
    examples,
    output_options,
    url_argument,
)
from quantkeep.cli.stored import stored_keep
from quantkeep.collection import Collection
from quantkeep.columns import Column, Row
from quantkeep.query import ENVELOPE_COLUMNS, Query, Where, where

if TYPE_CHECKING:
    from quantkeep.backtests import BacktestStore

TABLES: Final = ("symbol_summary", "symbol_signals", "performance_curve")
LISTED: Final = (
    "task_id", "strategy", "symbols", "start_date", "end_date", "timeframe", "status",
    "record_count", "created_at",
)  # fmt: skip
_TASK: Final = click.option("--task", "-t", required=True, metavar="ID", help="Of the result.")
_TASKS: Final = click.option(
    "--task", "-t", "tasks", multiple=True, metavar="ID", help="Only this result; may be repeated."
)
_DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Only say what would go.")


@click.group()
def backtests() -> None:
    """List backtest results, look into them, export, check and retire them."""


@backtests.command(
    "list",
    epilog=examples(
        "backtests list sqlite:///research.db --strategy SmaCross --since 7d",
        "backtests list sqlite:///research.db --symbol BTC/USDT --format json",
    ),
)
@url_argument
@click.option("--strategy", help="Only this strategy.")
@click.option("--status", help="Only in this status: completed, failed, running, cancelled.")
@click.option("--symbol", "-s", help="Only those that traded it.")
@click.option("--since", type=Moment(), help="Made from this moment on: 2025-01-17, 7d ago.")
@click.option(
    "--limit", "-l", type=click.IntRange(min=0), default=100, show_default=True,
    help="The newest N; 0 for all.",
)  # fmt: skip
@output_options
def list_results(
    url: str | None,
    out: Output,
    *,
    symbol: str | None,
    since: datetime | None,
    limit: int,
    **equal: str | None,
) -> None:
    """List results, newest first."""
    asked = [*where(**equal)]
    asked += [Where("symbols", "contains", symbol)] if symbol else []
    asked += [Where("created_at", ">=", since)] if since else []
    query = Query(where=tuple(asked), order=("-created_at", "-revision"), limit=limit or None)
    with stored_keep(url) as keep:
        part, collection = keep.find("backtests", "backtest_results")
        out.show(
            Listing(
                title=f"Backtest results of {part.url}",
                columns=(*collection.columns, *ENVELOPE_COLUMNS.values()),
                rows=_rows(part.backend.scan(collection, query), collection),
                shown=LISTED,
                caption=f"the newest, {limit} at most; --limit 0 shows all" if limit else None,
            )
        )


def _rows(stored: Any, collection: Collection) -> Iterator[Row]:
    for each in stored:
        collection.verify(each)
        yield (*each.values, each.revision, each.created_at, each.updated_at)


# -- show ------------------------------------------------------------------------------------------


@backtests.command(
    epilog=examples(
        "backtests show sqlite:///research.db -t 550e8400-e29b-41d4-a716-446655440000",
        "backtests show -t 550e8400-... --table symbol_signals -s BTC/USDT --since 2024-02-01",
        "backtests show -t 550e8400-... --table performance_curve --limit 0 -o curve.parquet",
    )
)
@url_argument
@_TASK
@click.option("--table", type=click.Choice(TABLES), help="Rows of this table, not the metadata.")
@click.option("--symbol", "-s", "symbols", multiple=True, help="Only rows of this symbol.")
@click.option("--since", type=Moment(), help="Only rows from this moment on.")
@click.option("--until", type=Moment(), help="Only rows before this moment.")
@click.option(
    "--limit", "-l", type=click.IntRange(min=0), default=100, show_default=True,
    help="The first N rows; 0 for all.",
)  # fmt: skip
@output_options
def show(
    url: str | None,
    out: Output,
    *,
    task: str,
    table: str | None,
    limit: int,
    **part: Any,
) -> None:
    """Show what is known of a result, or rows of one of its tables."""
    import quantkeep

    with quantkeep.open(url, create=False, read_only=True) as keep:
        if table is None:
            out.show(_metadata(keep.backtests, task))
        else:
            out.show(_table(keep.backtests, task, table, limit, **part))


def _metadata(store: "BacktestStore", task: str) -> Listing:
    """The record, field by field, and a line for each of its files."""
    record = store.fetch(task)
    assert record.envelope is not None
    said = record.as_dict()
    files = said.pop("files") or {}
    said |= {"created_at": record.envelope.created_at, "updated_at": record.envelope.updated_at}
    rows: list[Row] = [(name, _told(value)) for name, value in said.items() if value is not None]
    rows += [
        (
            name,
            f"{file['row_count']:,} rows, {file['file_size_bytes']:,} bytes, etag {file['etag']}",
        )
        for name, file in files.items()
        if "row_count" in file
    ]
    return Listing(
        title=f"Backtest result {task}", columns=(text("field"), text("value")), rows=rows
    )


def _told(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _table(
    store: "BacktestStore",
    task: str,
    table: str,
    limit: int,
    *,
    symbols: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
) -> Listing:
    from quantkeep.backtests.part import schema_of

    schema = schema_of(store.fetch(task))[table]
    stream = store.read(task, table, symbols=symbols or None, since=since, until=until)
    columns = tuple(_shown(column) for column in schema.columns)
    rows = _limited(stream, limit)
    caption = f"the first, {limit} at most; --limit 0 shows all" if limit else None
    return Listing(title=f"{table} of {task}", columns=columns, rows=rows, caption=caption)


def _shown(column: Column) -> Column:
    return Column(name=column.name, kind=column.kind, nullable=True, doc=column.doc)


def _limited(stream: Any, limit: int) -> Iterator[Row]:
    """Rows of canonical scalars: instants as microseconds."""
    import pyarrow as pa

    left = limit or None
    for batch in stream:
        part = batch if left is None else batch.slice(0, left)
        columns = [
            column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
            for column in part.columns
        ]
        yield from zip(*(column.to_pylist() for column in columns), strict=True)
        left = None if left is None else left - len(part)
        if left == 0:
            return


# -- export ----------------------------------------------------------------------------------------


@backtests.command(
    epilog=examples(
        "backtests export sqlite:///research.db --to out",
        "backtests export sqlite:///research.db --to out -t 550e8400-... --as json",
    )
)
@url_argument
@_TASKS
@click.option(
    "--to", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Directories appear in FOLDER/backtests/, JSON files in FOLDER.",
)  # fmt: skip
@click.option(
    "--as", "kind", type=click.Choice(("parquet", "json")), default="parquet", show_default=True,
    help="The directory layout of Parquet files, or the original JSON.",
)  # fmt: skip
@click.option(
    "--codec", type=click.Choice(("zstd", "snappy")), default="zstd", show_default=True,
    help="snappy: in row groups of 10,000, as older readers expect.",
)  # fmt: skip
@output_options
def export(
    url: str | None, out: Output, *, tasks: tuple[str, ...], to: Path, kind: str, codec: str
) -> None:
    """Write results to files that other programs read; all of them, or those that are named."""
    import quantkeep

    with quantkeep.open(url, create=False, read_only=True) as keep:
        store = keep.backtests
        chosen = tasks or [str(r.task_id) for r in store.list_results(None) if r.has_tables]
        rows: list[Row] = []
        for task in chosen:
            path = _json(store, task, to) if kind == "json" else _directory(store, task, to, codec)
            rows.append((task, str(path)))
    out.show(Listing(title="Exported", columns=(text("task_id"), text("path")), rows=rows))


def _directory(store: "BacktestStore", task: str, to: Path, codec: str) -> Path:
    from quantkeep.backtests import SNAPPY, STANDARD

    return store.export(task, to, encoding=SNAPPY if codec == "snappy" else STANDARD)


def _json(store: "BacktestStore", task: str, to: Path) -> Path:
    """What JSON has no word for is written as Python's json does: NaN, Infinity, ISO text."""
    to.mkdir(parents=True, exist_ok=True)
    path = to / f"{task}.json"
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(store.get_result(task), file, ensure_ascii=False, default=str)
    part.replace(path)
    return path


# -- check and retire ------------------------------------------------------------------------------


@backtests.command(
    epilog=examples("backtests verify sqlite:///research.db", "backtests verify -t 550e8400-...")
)
@url_argument
@_TASKS
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
    caption = f"{len(checks):,} results, {problems or 'no'} problem{'' if problems == 1 else 's'}"
    out.show(Listing(title="Verify", columns=columns, rows=rows, caption=caption))
    if problems:
        ctx.exit(1)


@backtests.command(
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
        (str(each.task_id), each.parquet_path, each.created_at.isoformat()) for each in removed
    ]
    columns = tuple(map(text, ("task_id", "parquet_path", "created_at")))
    said = "would be removed" if dry_run else "removed"
    out.show(Listing(title="Cleanup", columns=columns, rows=rows, caption=f"{len(rows):,} {said}"))


@backtests.command(
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
    columns = (text("what"), text("which"))
    out.show(Listing(title="Garbage", columns=columns, rows=rows, caption=said))
