"""``quantkeep backtests show``: one result, or rows of its tables."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from quantkeep.cli.commands.backtests._options import TASK
from quantkeep.cli.formats.plain import iso
from quantkeep.cli.listing import Listing, text
from quantkeep.cli.options import (
    Moment,
    Output,
    examples,
    limit_option,
    output_options,
    url_argument,
)
from quantkeep.columns import Column, Row

if TYPE_CHECKING:
    from quantkeep.backtests import BacktestStore

TABLES: Final = ("symbol_summary", "symbol_signals", "performance_curve")


@click.command(
    epilog=examples(
        "backtests show sqlite:///research.db -t 550e8400-e29b-41d4-a716-446655440000",
        "backtests show -t 550e8400-... --table symbol_signals -s BTC/USDT --since 2024-02-01",
        "backtests show -t 550e8400-... --table performance_curve --limit 0 -o curve.parquet",
    )
)
@url_argument
@TASK
@click.option("--table", type=click.Choice(TABLES), help="Rows of this table, not the metadata.")
@click.option("--symbol", "-s", "symbols", multiple=True, help="Only rows of this symbol.")
@click.option("--since", type=Moment(), help="Only rows from this moment on.")
@click.option("--until", type=Moment(), help="Only rows before this moment.")
@limit_option("The first N rows")
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
    said |= {"created_at": iso(record.envelope.created), "updated_at": iso(record.envelope.updated)}
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
