"""A keep on SQLite whose network can be cut, and a fallback of JSON files."""

from datetime import UTC, datetime

import pytest

import quantkeep
from quantkeep import Unavailable, hookimpl
from quantkeep.tape import EquityPoint, Trade

START = datetime(2025, 1, 20, tzinfo=UTC)


class Network:
    """A quantkeep plugin; cut, it lets nothing through to the URLs it is in front of."""

    def __init__(self, *urls):
        self.urls, self.cut, self.uses = {*urls}, False, []

    @hookimpl(wrapper=True)
    def quantkeep_open(self, url):
        engine = yield
        if engine is None or url.full not in self.urls:
            return engine
        if self.cut:
            engine.close()
            raise Unavailable("no route to host")
        return Wire(engine, self)

    @hookimpl
    def quantkeep_fallback(self, use):
        self.uses.append(use)


class Wire:
    """What stands between a client and its engine; forwards all, while it can."""

    def __init__(self, engine, network):
        self._engine, self._network = engine, network

    def __getattr__(self, name):
        found = getattr(self._engine, name)
        if not callable(found) or name == "close":
            return found

        def forwarded(*arguments, **options):
            if self._network.cut:
                raise Unavailable("connection reset")
            return found(*arguments, **options)

        return forwarded


class Site:
    """Where the tests live."""

    def __init__(self, folder):
        self.primary, self.fallback = f"sqlite:///{folder}/bot.db", f"json:///{folder}/fallback"
        self.network = Network(self.primary)

    def open(self, **asked):
        asked = {"fallback": self.fallback, "plugins": [self.network], **asked}
        return quantkeep.open(asked.pop("target", self.primary), **asked)

    def merge(self, **asked):
        return quantkeep.merge(self.fallback, self.primary, **asked)

    def look(self):
        return quantkeep.open(self.primary)

    @staticmethod
    def point(equity, mode="paper", **more):
        return EquityPoint(mode=mode, timestamp=START, total_equity=float(equity), **more)

    @staticmethod
    def trade(uid, price=1.0):
        return Trade(
            mode="paper", uid=uid, timestamp=START, symbol="BTC", side="LONG", action="OPEN",
            fill_price=price, qty=1.0,
        )  # fmt: skip

    @staticmethod
    def equities(keep):
        return [entry.total_equity for entry in keep.tape.equity(mode="paper")]


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


@pytest.fixture
def outage(site):
    """Something in the primary, and then a keep on the fallback."""
    with site.open() as keep:
        keep.tape.append([site.point(n) for n in range(3)])
    site.network.cut = True
    with site.open() as keep:
        yield keep
    site.network.cut = False
