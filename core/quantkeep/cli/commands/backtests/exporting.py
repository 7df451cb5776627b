"""``quantkeep backtests export``: files that other programs read."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from quantkeep.cli.commands.backtests._options import TASKS
from quantkeep.cli.listing import Listing, text
from quantkeep.cli.options import Output, examples, output_options, url_argument
from quantkeep.columns import Row

if TYPE_CHECKING:
    from quantkeep.backtests import BacktestStore


@click.command(
    epilog=examples(
        "backtests export sqlite:///research.db --to out",
        "backtests export sqlite:///research.db --to out -t 550e8400-... --as json",
    )
)
@url_argument
@TASKS
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
