"""How tables are written as Parquet; the figures are in ``docs/backtest-encoding.md`` (Z-55)."""

from typing import Final, Literal

import attrs

from quantkeep.errors import InvalidValue

Codec = Literal["zstd", "snappy", "gzip", "brotli", "lz4", "none"]
_LEVELS: Final = {"zstd": (1, 22), "gzip": (1, 9), "brotli": (0, 11)}


@attrs.frozen(kw_only=True)
class Encoding:
    """How tables are written.

    Attributes:
        codec: compresses the pages.
        level: of the codec; ``None`` is its own default.
        row_group_rows: rows of a row group, at most; what a reader holds at once.
        tuned: choose an encoding for each column by what is in it; otherwise each gets a
            dictionary, as Parquet writers do by themselves.
        decimals: keep a column of floats that are all short decimals (``101.25``) as such, if
            every one of them comes back bit for bit.
        derive: leave out drawdown and cumulative P&L where they follow from equity, if every one
            of them comes back bit for bit.
    """

    codec: Codec = "zstd"
    level: int | None = 3
    row_group_rows: int = 100_000
    tuned: bool = True
    decimals: bool = True
    derive: bool = True

    def __attrs_post_init__(self) -> None:
        lowest, highest = _LEVELS.get(self.codec, (0, 0))
        if self.level is not None and not lowest <= self.level <= highest:
            raise InvalidValue(
                f"{self.codec} has no level {self.level}", record="Encoding", field="level",
                value=self.level,
                expected=f"{lowest} to {highest}" if highest else "None",
            )  # fmt: skip
        if not 1 <= self.row_group_rows <= 2**20:
            raise InvalidValue(
                f"cannot be {self.row_group_rows}", record="Encoding", field="row_group_rows",
                value=self.row_group_rows, expected="1 to 1,048,576",
            )  # fmt: skip


# What a keep writes: least bytes at the speed of plain Parquet.
COMPACT: Final = Encoding()

# Every column as the schema says it, for other programs to read: what an export writes.
STANDARD: Final = Encoding(decimals=False, derive=False)

# As the design of this store had it (BT-11).
SNAPPY: Final = Encoding(
    codec="snappy", level=None, row_group_rows=10_000, tuned=False, decimals=False, derive=False
)
