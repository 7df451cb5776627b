"""Runs: the stretches of rows in which the symbol stays the same."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc


class Run(NamedTuple):
    """Rows *start* to *stop* (not included) of one symbol."""

    symbol: str
    start: int
    stop: int


def runs(symbols: Any) -> Iterator[Run]:
    """The runs of a column of symbols without nulls."""
    encoded = pc.run_end_encode(_plain(symbols))
    start = 0
    for symbol, stop in zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True):
        yield Run(symbol, start, stop)
        start = stop


def grouped(batch: Any) -> tuple[Any, list[Run], Any | None]:
    """*batch* with the rows of each symbol together, in the order in which symbols first appear.

    Returns:
        The batch, the run of each symbol, and the places its rows had before; ``None`` if they
        stand where they stood.
    """
    symbols = batch["symbol"]
    found = [*runs(symbols)]
    if len(found) == len({run.symbol for run in found}):
        return batch, found, None
    codes = _plain(symbols).dictionary_encode().indices  # numbered by first appearance
    places = pc.array_sort_indices(codes)  # stable
    together = batch.take(places)
    return together, [*runs(together["symbol"])], places


def _plain(symbols: Any) -> Any:
    if isinstance(symbols, pa.ChunkedArray):
        symbols = symbols.combine_chunks()
    return symbols
