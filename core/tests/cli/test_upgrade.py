"""``quantkeep upgrade``: an older keep gets what is missing, and keeps what it has."""

from contextlib import closing

import attrs
import pytest

import quantkeep
from quantkeep import schema
from quantkeep.errors import UpgradeNeeded
from quantkeep.guard import GuardedBackend
from quantkeep.hookspecs import Opening
from quantkeep.opening import open_backend, plugin_manager
from quantkeep.tape import Trade, TradeTape
from quantkeep.url import Url


@pytest.fixture(params=["sqlite", "json"])
def older(request, tmp_path):
    """A keep of a version that knew no diagnostics, and of a trade no reason."""
    url = f"{request.param}:///{tmp_path / 'older'}"
    kept = [_older(r.collection) for r in TradeTape.records if r.collection.name != "diagnostics"]
    engine = open_backend(Url.parse(url), plugin_manager(()), Opening())
    with closing(GuardedBackend(engine)) as backend:
        backend.ensure(kept, schema.describe(kept))
    return url


def _older(collection):
    if collection.name != "trades":
        return collection
    left = tuple(c for c in collection.columns if c.name != "entry_reason")
    return attrs.evolve(collection, columns=left, indexes=collection.indexes[1:])


def test_upgrade_says_what_it_adds(cli, older):
    result = cli("upgrade", older, "-f", "json")
    assert result.code == 0
    added = {(row["collection"], row["added"]) for row in result.rows}
    assert {("diagnostics", "the collection"), ("trades", "column entry_reason")} <= added
    first = ", ".join(Trade.collection.indexes[0].columns)
    assert ("trades", f"index on {first}") in added
    again = cli("upgrade", older)
    assert (again.code, again.out) == (0, "Added: none\n")


def test_upgrade_makes_no_keep(cli, tmp_path):
    result = cli("upgrade", f"sqlite:///{tmp_path / 'none.db'}")
    assert result.code == 2
    assert "none.db is not there" in result.err
    assert not [*tmp_path.iterdir()]


def test_the_refusal_names_the_way_out(cli, older):
    with pytest.raises(UpgradeNeeded, match="`quantkeep upgrade URL`"):
        quantkeep.open(older, read_only=True)
    assert cli("upgrade", older).code == 0
    with quantkeep.open(older, read_only=True) as keep:
        assert keep.tape.trades() == []
