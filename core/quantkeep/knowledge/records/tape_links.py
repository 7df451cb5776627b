"""Which stretch of the trade tape a strategy traded live, or was replayed on (KB-15, Z-66)."""

from uuid import UUID

from quantkeep.errors import InvalidValue
from quantkeep.knowledge.records.versions import Versioned, placed
from quantkeep.query import Where
from quantkeep.records import field, record
from quantkeep.trading import Mode


class _TapeRange:
    """What both kinds of link have in common."""

    __slots__ = ()

    account: str
    mode: Mode
    first_revision: int
    last_revision: int | None

    @property
    def where(self) -> tuple[Where, ...]:
        """Conditions that pick this stretch: ``keep.table(Trade).list(*link.where)``."""
        stretch = [
            Where("account", "==", self.account),
            Where("mode", "==", self.mode),
            Where("revision", ">=", self.first_revision),
        ]
        if self.last_revision is not None:
            stretch.append(Where("revision", "<=", self.last_revision))
        return tuple(stretch)

    def _check(self) -> None:
        if self.first_revision < 1:
            raise _refused(self, "first_revision", "a revision, which starts at 1")
        if self.last_revision is not None and self.last_revision < self.first_revision:
            raise _refused(self, "last_revision", "first_revision or later, or None while it runs")


def _refused(link: _TapeRange, field_name: str, expected: str) -> InvalidValue:
    value = getattr(link, field_name)
    return InvalidValue(
        f"is {value!r}",
        record=type(link).__name__, field=field_name, value=value, expected=expected,
    )  # fmt: skip


@record("live_trades", key=("live_id",), stream=("run_id",))
class LiveTrades(_TapeRange, Versioned):
    """A strategy traded this stretch of a tape stream."""

    live_id: str = placed("given, or made")
    run_id: UUID = field(references="runs")
    strategy_id: str = field(index=True, references="strategies")
    log: str = field(default="trades", doc="collection of the tape")
    account: str = "default"
    mode: Mode
    first_revision: int
    last_revision: int | None = field(default=None, doc="inclusive; absent while it runs")
    notes: str | None = None

    def __attrs_post_init__(self) -> None:
        self._check()


@record("replays", key=("replay_id",), stream=("run_id",))
class Replay(_TapeRange, Versioned):
    """A strategy was replayed on this stretch of a tape stream, with this result."""

    replay_id: str = placed("given, or made")
    run_id: UUID = field(references="runs")
    strategy_id: str = field(index=True, references="strategies")
    backtest_id: str | None = field(
        default=None, index=True, references="backtests", doc="backtest that the replay gave"
    )
    log: str = field(default="trades", doc="collection of the tape")
    account: str = "default"
    mode: Mode
    first_revision: int
    last_revision: int | None = field(default=None, doc="inclusive; absent: to the end")
    notes: str | None = None

    def __attrs_post_init__(self) -> None:
        self._check()
