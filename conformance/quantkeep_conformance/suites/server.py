"""On a server: it is killed, stalls, loses answers, drops connections, and is configured weakly."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import quantkeep
from quantkeep import Durability as Level
from quantkeep import DurabilityNotMet, Keep, QuantkeepError
from quantkeep.opening import backend_hooks
from quantkeep.url import Url
from quantkeep_conformance.clauses import Facility, Suite, requires
from quantkeep_conformance.crashes import CrashCampaign, LosingCampaign
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.places import Claims, Place
from quantkeep_conformance.proxy import Proxy
from quantkeep_conformance.records import Entry
from quantkeep_conformance.scratch import Scratch, loaded
from quantkeep_conformance.servers import Server as Running
from quantkeep_conformance.servers import Weakness, started
from quantkeep_conformance.suites.attempts import Attempts, insisted
from quantkeep_conformance.suites.helpers import log, numbers


class Server(Suite):
    """What a client must make of a server that does not behave."""

    family = "server"

    @requires(Facility.FILES_OF_SERVER, Level.SERVER)
    def test_killed_in_mid_commit(
        self, place: Place, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """A server killed amid commits: all that was acknowledged is there once, errors told the truth."""
        campaign = CrashCampaign(place, effort.random("crashes"))
        for _ in range(effort.times(5)):
            campaign.crash_at_some_moment()
        evidence.update(campaign.counts(), seed=effort.seed)

    @requires(Facility.FILES_OF_SERVER)
    def test_killed_at_a_lower_level(
        self, place: Place, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """A server killed, at whatever level: what it lost are the newest commits, and those whole."""
        campaign = LosingCampaign(place, effort.random("losses"))
        for _ in range(effort.times(3)):
            campaign.crash_at_some_moment()
        evidence.update(campaign.counts(), seed=effort.seed)
        assert campaign.lost == 0 or place.claims.level < Level.SERVER

    @requires(Facility.FILES_OF_SERVER)
    def test_restarted_between_calls(self, place: Place, keep: Keep) -> None:
        """A handle whose server was restarted says so at most, and then goes on with a new one."""
        log(keep, Entry(number=0))
        for _ in range(3):
            attempts = Attempts(keep)
            place.server.stop()
            attempts.append()
            assert attempts.refused, "a server that is not there has taken a commit"
            assert attempts.unknown == 0, "there was no connection, so nothing can be unknown"
            place.server.start()
            insisted(lambda: keep.table(Entry).count())
            attempts.append(until_done=True)
            attempts.hold()

    @requires(Facility.SERVER)
    def test_stall_is_counted_once(
        self, place: Place, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """Commits that meet a server that stalls for 250 ms are applied once, or their outcome is unknown."""
        attempts = Attempts(self._impatient(place))
        draw = effort.random("stalls")
        for _ in range(effort.times(6)):
            with attempts.at_work():
                attempts.wait_for(draw.randint(2, 20))
                place.server.pause()
                time.sleep(0.25)
                place.server.resume()
                attempts.wait_for(2)
        attempts.hold()
        evidence.update(attempts.counts(), seed=effort.seed)

    def _impatient(self, place: Place) -> Keep:
        """A handle that waits less than the stall lasts, if the backend can be told so."""
        place.open().close()
        url = Url.parse(place.url)
        known = backend_hooks(url, loaded(place.plugins)).hook.quantkeep_backend()
        takes = any("timeout" in info.options for info in known if info.scheme == url.scheme)
        more = f"{'&' if url.options else '?'}timeout=0.1" if takes else ""
        return place.open_at(place.url + more)

    @requires(Facility.SERVER)
    def test_lost_answer_is_no_verdict(
        self, place: Place, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """A commit whose answer is lost is neither a conflict nor a failure, and can be resolved."""
        draw, count = effort.random("answers"), effort.times(20)
        with _proxy(place) as proxy:
            keep = place.open_at(proxy.through(place.url))
            attempts = Attempts(keep)
            for number in range(count):
                proxy.lose_answer(draw.randrange(4))
                attempts.commit(f"op {number}")
            proxy.heal()
            attempts.hold()
            evidence.update(attempts.counts(), answers_lost=proxy.lost, seed=effort.seed)
            assert proxy.lost >= count / 8, "hardly an answer was lost"

    @requires(Facility.SERVER)
    def test_connections_cut(self, place: Place, effort: Effort) -> None:
        """A handle whose connections were cut, idle or at work, tells the truth and recovers."""
        with _proxy(place) as proxy:
            attempts = Attempts(place.open_at(proxy.through(place.url)))
            for _ in range(effort.times(5)):
                proxy.cut()
                attempts.append(until_done=True)
                with attempts.at_work():
                    attempts.wait_for(3)
                    proxy.cut()
                    attempts.wait_for(2)
            attempts.hold()

    @requires(Facility.SERVER)
    def test_slow_commits_are_not_passed_over(self, place: Place, effort: Effort) -> None:
        """Who follows a log misses nothing of commits that were begun early and ended late."""
        times = effort.times(8)
        with _proxy(place) as proxy:
            quick, reader = place.open(), place.open()
            slow = place.open_at(proxy.through(place.url))
            proxy.delay = 0.004
            writers = [
                threading.Thread(target=_append, args=(keep, first, times * more))
                for keep, first, more in ((slow, 0, 1), (quick, 1000, 20))
            ]
            for writer in writers:
                writer.start()
            seen = [*_followed(reader, writers)]
        assert sorted(seen) == [*range(times), *range(1000, 1000 + times * 20)]
        assert seen == numbers(reader.table(Entry).scan())

    @requires(Facility.SERVER)
    def test_weak_settings(self, place: Place, evidence: dict[str, object]) -> None:
        """A server that would lose what it acknowledged is refused, or claimed at the level it has."""
        running = place.serving.server
        assert running is not None
        for weakness in running.weaknesses:
            with started(place.serving.name or "", weakness.settings) as weak:
                told = _met(place, weak, weakness)
            evidence[" ".join(f"{n}={v}" for n, v in weakness.settings.items())] = told


@contextmanager
def _proxy(place: Place) -> Iterator[Proxy]:
    server = place.serving.server
    assert server is not None
    place.open().close()  # made without a disturbance
    proxy = Proxy(server.url)
    try:
        yield proxy
    finally:
        proxy.close()


def _append(keep: Keep, first: int, times: int) -> None:
    for number in range(first, first + times):
        insisted(lambda: log(keep, Entry(account="race", number=number)))  # noqa: B023  # run now


def _followed(keep: Keep, writers: list[threading.Thread]) -> Iterator[int]:
    """The numbers of a log, each as soon as it is seen, until its writers have ended."""
    last, ended = 0, False
    while not ended:
        ended = not any(writer.is_alive() for writer in writers)
        where = quantkeep.Where("account", "==", "race"), quantkeep.Where("revision", ">", last)
        found = keep.table(Entry).list(*where)
        yield from numbers(found)
        last = found[-1].revision or 0 if found else last


def _met(place: Place, weak: Running, weakness: Weakness) -> str:
    """What the backend makes of a server with a weakness."""
    scratch = Scratch(place.url_on(weak), place.plugins)
    asked: dict[str, Any] = {"plugins": loaded(place.plugins)}
    try:
        url = scratch.place()
        with quantkeep.open(url, **asked) as keep:
            level = Claims.of(keep, url).level
        assert weakness.level is not None, f"{weakness.settings} was not refused"
        assert level <= weakness.level, f"claims {level.name} with {weakness.settings}"
        with pytest.raises(DurabilityNotMet):
            quantkeep.open(url, durability=Level(weakness.level + 1), **asked)
    except QuantkeepError as error:
        return type(error).__name__
    finally:
        scratch.close()
    return level.name.lower()
