#!/usr/bin/env python3
"""Measure everything, one after the other, and put the figures into the docs.

    python bench/run.py                     all, at full size: take an hour, and an idle machine
    python bench/run.py on_sqlite on_redis  some of it
    python bench/run.py --rows 100000       smaller
    python bench/run.py --tables            measure nothing: only the docs, from bench/results/

Each part is a program of its own beside this file, with options of its own.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from timing import told

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PARTS = {
    "on_sqlite": "sqlite",
    "on_postgresql": "postgresql",
    "on_redis": "redis",
    "on_parquet": "parquet",
    "on_json": "json",
    "backtests": "backtests",
    "knowledge": "knowledge",
}
SIZED = [part for part in PARTS if part.startswith("on_")]
# A table stands between these two lines, under the name of its results.
PLACE = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def measure(part: str, rows: int | None) -> None:
    """Run one part, and keep its figures."""
    command = [sys.executable, HERE / f"{part}.py", "--json", RESULTS / f"{PARTS[part]}.json"]
    if rows is not None and part in SIZED:
        command += ["--rows", str(rows)]
    print(part, flush=True)
    subprocess.run(command, check=True)


def fill(page: Path) -> None:
    """Put today's figures into the tables of *page*."""
    text = page.read_text(encoding="utf-8")
    filled = PLACE.sub(lambda found: f"{found[1]}{table(found[2])}{found[3]}", text)
    if filled != text:
        page.write_text(filled, encoding="utf-8")
        print(f"{page}: figures of today", flush=True)


def table(results: str) -> str:
    """The figures of bench/results/*results*.json as Markdown."""
    said = json.loads((RESULTS / f"{results}.json").read_text(encoding="utf-8"))
    rows = "".join(map(_row, said["figures"]))
    return f"| path | ours | raw | ratio | target | met |\n|---|---:|---:|---:|---:|:-:|\n{rows}"


def _row(figure: dict[str, Any]) -> str:
    met = "yes" if figure["met"] else "**no**"
    ours, raw = (told(figure[side], figure.get("unit", "s")) for side in ("ours", "raw"))
    return (
        f"| {figure['path']} | {ours} | {raw} "
        f"| {figure['ratio']:.2f} | {figure['target']:.2f} | {met} |\n"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    arguments.add_argument("--rows", type=int, help="of the largest append")
    arguments.add_argument("--tables", action="store_true", help="only fill the docs")
    said = arguments.parse_args()
    unknown = sorted({*said.parts} - {*PARTS})
    if unknown:
        arguments.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    for part in [] if said.tables else said.parts or PARTS:
        measure(part, said.rows)
    for page in sorted((HERE.parent / "docs").glob("*.md")):
        fill(page)


if __name__ == "__main__":
    main()
