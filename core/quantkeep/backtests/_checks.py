"""What must hold of the rows of a table, checked batch by batch as they pass (BT-20 ... BT-22)."""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from quantkeep.backtests._runs import Run, grouped
from quantkeep.backtests.schemas import TableSchema
from quantkeep.columns import Column, Kind
from quantkeep.errors import InvalidValue

Where = Callable[[int], str]
RECORD = "BacktestResult"


class Checker:
    """Watches the rows of one table.

    Attributes:
        rows: seen so far.
        symbols: rows of each symbol, in the order in which they first appeared.
    """

    def __init__(self, table: TableSchema) -> None:
        self._table = table
        self._latest: dict[str, int] = {}
        self.rows = 0
        self.symbols: dict[str, int] = {}

    def see(self, batch: Any, where: Where | None = None) -> None:
        """Check *batch*, the rows that follow; *where* names a row of it in errors.

        Raises:
            InvalidValue: a symbol is missing, a text is not one of its choices, or an instant lies
                before the one that its symbol had last.
        """
        first = self.rows
        self.rows += len(batch)
        named = where or (lambda row: f"{self._table.name}[{first + row}]")
        _check_symbols(batch["symbol"], named)
        for column in self._table.columns:
            if column.kind is Kind.TEXT:
                _check_text(column, batch[column.name], named)
        together, found, places = grouped(batch)
        for symbol, start, stop in found:
            self.symbols[symbol] = self.symbols.get(symbol, 0) + stop - start
        if self._table.is_timed and len(batch):
            self._check_order(together, found, places, named)

    def _check_order(
        self, batch: Any, found: Sequence[Run], places: Any | None, where: Where
    ) -> None:
        times = batch["timestamp"].cast(pa.int64())
        for symbol, start, stop in found:
            part = times.slice(start, stop - start)
            row = self._first_backwards(symbol, part)
            if row is not None:
                row = row + start if places is None else places[row + start].as_py()
                raise InvalidValue(
                    "lies before the row of this symbol that precedes it",
                    record=RECORD, field=f"{where(row)}.timestamp", value=symbol,
                    expected="each symbol's rows in the order of time",
                )  # fmt: skip

    def _first_backwards(self, symbol: str, times: Any) -> int | None:
        """The first of *times* that lies before another that came earlier."""
        before = self._latest.get(symbol)
        peaks = pc.cumulative_max(times, start=before, skip_nulls=True)
        if len(times) > times.null_count:
            self._latest[symbol] = pc.max(peaks).as_py()
        backwards = pc.less(times, peaks)
        return pc.index(backwards, pa.scalar(True)).as_py() if pc.any(backwards).as_py() else None


def _check_symbols(symbols: Any, where: Where) -> None:
    missing = pc.index(pc.or_kleene(pc.is_null(symbols), pc.equal(symbols, "")), True).as_py()
    if missing >= 0:
        raise InvalidValue(
            "is required", record=RECORD, field=f"{where(missing)}.symbol",
            expected="the symbol that the row belongs to",
        )  # fmt: skip


def _check_text(column: Column, texts: Any, where: Where) -> None:
    distinct = pc.unique(texts).to_pylist()
    known = column.choices
    for text in distinct:
        if text is None or ("\0" not in text and (not known or text in known)):
            continue
        row = pc.index(texts, pa.scalar(text)).as_py()
        field = f"{where(row)}.{column.name}"
        expected = column.expected if known else "text without \\x00"
        raise InvalidValue(
            f"cannot hold {text!r}", record=RECORD, field=field, value=text, expected=expected
        )


def check_counts(signals: Checker, totals: dict[str, int | None]) -> None:
    """Each symbol's ``total_signals``, where it is said, is the number of its rows (BT-21).

    Raises:
        InvalidValue: it is not, or rows belong to a symbol without a summary.
    """
    for symbol, total in totals.items():
        rows = signals.symbols.get(symbol, 0)
        if total is not None and total != rows:
            raise InvalidValue(
                f"is {total} for {symbol!r}, whose rows in symbol_signals are {rows}",
                record=RECORD, field="symbol_summary.total_signals", value=total,
                expected=f"{rows}, or null; or the signals that are missing",
            )  # fmt: skip


def check_outcomes(summary: Any) -> None:
    """Signals that won and signals that lost are no more than there are (BT-21).

    Raises:
        InvalidValue: of some symbol they are.
    """
    names = ("symbol", "total_signals", "winning_signals", "losing_signals")
    if not {*names} <= {*summary.schema.names}:
        return
    for symbol, total, won, lost in zip(*(summary[n].to_pylist() for n in names), strict=True):
        if None not in (total, won, lost) and won + lost > total:
            raise InvalidValue(
                f"is {won} for {symbol!r}, and losing_signals is {lost}: more than its {total}",
                record=RECORD, field="symbol_summary.winning_signals", value=won,
                expected=f"both together at most {total}, or null",
            )  # fmt: skip


def check_summarised(rows: Checker, table: str, symbols: dict[str, Any]) -> None:
    """Every symbol of a table is one of the result's."""
    for symbol in rows.symbols:
        if symbol not in symbols:
            raise InvalidValue(
                f"has rows of {symbol!r}, which is not among the result's symbols",
                record=RECORD, field=f"{table}.symbol", value=symbol,
                expected=f"one of {', '.join(symbols) or 'none'}"[:200],
            )  # fmt: skip
