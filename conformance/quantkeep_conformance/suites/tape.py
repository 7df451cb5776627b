"""The trade tape on this backend (CODEX, Z-30 ... Z-38)."""

from datetime import timedelta
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from quantkeep import Capability, Corrupt, Keep
from quantkeep.errors import AlreadyExists, Regression
from quantkeep.tape import EquityPoint, Trade
from quantkeep_conformance.children.trading import fill
from quantkeep_conformance.clauses import Facility, Suite, requires
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.exactness import assert_all_same
from quantkeep_conformance.places import Place
from quantkeep_conformance.samples import FIRST_DAY
from quantkeep_conformance.suites.helpers import at_once, started


def trade(number: int, **said: Any) -> Trade:
    """A trade that says its number by its quantity."""
    return fill(number).replace(uid=None, **said)


def quantities(trades: Any) -> list[float]:
    """Which trades they are."""
    return [found.qty for found in trades]


class Tape(Suite):
    """The tape as a store."""

    family = "tape"
    built_on_others: ClassVar[bool] = True

    @pytest.mark.requirement("Z-30")
    def test_paper_is_not_live(self, keep: Keep) -> None:
        """Paper and live are apart: in listings, counts, the latest, and what is pruned."""
        for number, mode in ((1, "paper"), (2, "live")):
            keep.tape.append(trade(number, mode=mode))
        assert quantities(keep.tape.trades(mode="paper")) == [1]
        assert quantities(keep.tape.trades(mode="live")) == [2]
        latest = keep.tape.latest(Trade, mode="paper")
        assert latest is not None
        assert latest.qty == 1
        keep.tape.prune(FIRST_DAY + timedelta(days=9), mode="paper")
        assert quantities(keep.tape.trades()) == [2]

    @pytest.mark.requirement("Z-38")
    def test_newest_n_ascending(self, keep: Keep) -> None:
        """The newest N trades come oldest first, and those of one moment as they were committed."""
        keep.tape.append(*(trade(n, timestamp=FIRST_DAY) for n in range(5)))
        keep.tape.append(trade(9, timestamp=FIRST_DAY - timedelta(days=1)))
        assert quantities(keep.tape.trades(limit=2)) == [3, 4]
        assert quantities(keep.tape.trades()) == [9, 0, 1, 2, 3, 4]

    @pytest.mark.requirement("Z-31")
    def test_same_moment_both_stay(self, keep: Keep) -> None:
        """Equal trades of one moment are two trades (Z-31)."""
        for _ in range(2):
            keep.tape.append(
                trade(1), EquityPoint(mode="paper", timestamp=FIRST_DAY, total_equity=1.0)
            )
        assert len(keep.tape.trades()) == len(keep.tape.equity()) == 2

    @pytest.mark.requirement("Z-31")
    def test_a_fill_told_again(self, keep: Keep) -> None:
        """A fill that is told again by its uid adds nothing; another one under it is refused."""
        assert keep.tape.append(fill(1)).added == 1
        assert keep.tape.append(fill(1)).added == 0
        with pytest.raises(AlreadyExists):
            keep.tape.append(fill(2).replace(uid="fill-1"))
        assert quantities(keep.tape.trades()) == [1]

    def test_pages(self, keep: Keep) -> None:
        """Pages by cursor give every trade once, in order of time."""
        keep.tape.append(*(trade(n, timestamp=FIRST_DAY + timedelta(n // 3)) for n in range(10)))
        found, after = list[float](), None
        while True:
            page, after = keep.tape.page(Trade, after=after, limit=3)
            found += quantities(page)
            if after is None:
                break
        assert found == [*range(10)]

    def test_follow_misses_nothing(self, keep: Keep, effort: Effort) -> None:
        """Who follows the tape while threads append to it is told of everything, once, in order."""
        writers, times = 3, effort.times(15)

        def work(writer: int) -> list[int | None]:
            if writer == writers:
                told = keep.tape.follow(Trade, mode="paper", poll=0.001, patience=20)
                return [next(told).revision for _ in range(writers * times)]
            for number in range(times):
                keep.tape.append(trade(number))
            return []

        *_, seen = at_once(writers + 1, work)
        assert seen == [*range(1, writers * times + 1)]

    @requires(Capability.MULTI_PROCESS)
    def test_follow_misses_nothing_of_others(
        self, place: Place, keep: Keep, effort: Effort
    ) -> None:
        """Who follows the tape while other processes append to it is told of everything."""
        times = effort.times(20)
        children = [place.child("tell", times=times) for _ in range(3)]
        told = keep.tape.follow(Trade, mode="paper", poll=0.001, patience=30)
        started(children)
        seen = [next(told).revision for _ in range(3 * times)]
        assert seen == [*range(1, 3 * times + 1)]

    def test_follow_notices_an_older_store(self, keep: Keep) -> None:
        """Who follows from a revision that the store has not reached is told so."""
        keep.tape.append(trade(1))
        with pytest.raises(Regression):
            next(keep.tape.follow(Trade, mode="paper", after=5, patience=0))

    @pytest.mark.requirement("Z-6")
    @requires(Facility.BACKDOOR)
    def test_damage_is_detected(self, keep: Keep) -> None:
        """A changed trade is Corrupt in every listing that would show it."""
        keep.tape.append(*(trade(n) for n in range(3)))
        collection = keep.table(Trade).collection
        keep.backend.backdoor().flip(collection, ("default", "paper", 2), "qty")
        for reading in (
            keep.tape.trades,
            lambda: [*keep.tape.scan(Trade)],
            lambda: keep.tape.arrow(Trade).read_all(),
            lambda: [*keep.tape.follow(Trade, mode="paper", patience=0)],
        ):
            with pytest.raises(Corrupt):
                reading()

    @pytest.mark.requirement("Z-6")
    @requires(Facility.BACKDOOR)
    def test_missing_is_detected(self, keep: Keep) -> None:
        """A trade that was removed behind the store's back is Corrupt to whoever follows."""
        keep.tape.append(*(trade(n) for n in range(3)))
        collection = keep.table(Trade).collection
        keep.backend.backdoor().remove(collection, ("default", "paper", 2))
        with pytest.raises(Corrupt):
            [*keep.tape.follow(Trade, mode="paper", patience=0)]

    def test_arrow_is_the_same(self, keep: Keep) -> None:
        """A table of trades goes in by Arrow and comes out as records, and the other way round."""
        keep.tape.append(*(fill(n) for n in range(5)))
        table = keep.tape.arrow(Trade).read_all()
        assert table.num_rows == 5
        live = pa.array(["live"] * 5, table.schema.field("mode").type)
        moved = table.set_column(table.schema.get_field_index("mode"), "mode", live)
        assert keep.tape.append_arrow(Trade, moved.drop_columns(["revision"])).added == 5
        assert_all_same(
            (found.replace(mode="paper") for found in keep.tape.trades(mode="live")),
            keep.tape.trades(mode="paper"),
        )

    def test_watermarks(self, keep: Keep) -> None:
        """What follows the watermarks of a saved state is what the tape has since been told."""
        keep.tape.append(fill(0))
        before = keep.tape.watermarks(mode="paper")
        point = EquityPoint(mode="paper", timestamp=FIRST_DAY, total_equity=1.0)
        keep.tape.append(fill(1), point)
        after = [*keep.tape.events_after(before)]
        assert [type(event) for event in after] == [Trade, EquityPoint]
