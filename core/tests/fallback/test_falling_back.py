"""A fallback steps in when the first place cannot be reached: only then, and never in silence."""

import logging

import pytest

import quantkeep
from quantkeep import Unavailable, hookimpl
from quantkeep.errors import InvalidUrl, PermissionDenied, StaleOwner, Unmerged

pytestmark = pytest.mark.requirement("Z-39")


def test_nothing_falls_back_while_the_first_place_is_there(site, tmp_path):
    with site.open() as keep:
        assert keep.backend.name == "sqlite"
        assert not any("fallback_for" in health.facts for health in keep.health().values())
    assert site.network.uses == []
    assert not (tmp_path / "fallback").exists()


def test_it_is_said_in_the_health_in_the_log_and_by_the_hook(site, caplog):
    site.network.cut = True
    with caplog.at_level(logging.WARNING, "quantkeep.fallback"), site.open() as keep:
        (health,) = keep.health().values()
        keep.tape.append(site.point(1))
    (use,) = site.network.uses
    assert (use.primary, use.fallback, use.reason) == (
        site.primary, site.fallback, "no route to host",
    )  # fmt: skip
    assert "tape" in use.stores
    assert str(use) in health.warnings
    assert health.facts["fallback_for"] == site.primary
    assert [record.getMessage() for record in caplog.records] == [str(use)]
    assert f"quantkeep merge {site.fallback} --into {site.primary}" in str(use)


@pytest.mark.parametrize(
    "nobody_there", ["postgresql://bot:hunter2@127.0.0.1:1/bot", "redis://:hunter2@127.0.0.1:1/0"]
)
def test_a_server_that_is_not_there_and_no_password_is_said(site, caplog, nobody_there):
    with quantkeep.open(nobody_there, fallback=site.fallback) as keep:
        keep.tape.append(site.point(1))
        (health,) = keep.health().values()
    assert "127.0.0.1:1" in health.facts["fallback_for"]
    assert "hunter2" not in f"{health} {caplog.text}"


def test_a_scan_is_of_the_moment_it_was_called_at_as_without_a_fallback(site):
    with site.open(fallback_on="loss") as keep:
        keep.tape.append(site.point(1))
        rows = keep.tape.scan(type(site.point(0)))
        keep.tape.append(site.point(2))
        assert [row.total_equity for row in rows] == [1.0]


@pytest.mark.parametrize("error", [PermissionDenied, InvalidUrl, quantkeep.Corrupt])
def test_what_is_no_outage_is_raised(site, tmp_path, error):
    class Refusing:
        @hookimpl(tryfirst=True)
        def quantkeep_open(self, url):
            if url.scheme == "sqlite":
                raise error("no")

    with pytest.raises(error):
        site.open(plugins=[Refusing()])
    assert not (tmp_path / "fallback").exists()


def test_without_one_the_error_is_raised(site):
    site.network.cut = True
    with pytest.raises(Unavailable, match="no route"):
        site.open(fallback=None)


def test_whoever_only_reads_makes_none(site, tmp_path):
    with site.open():
        pass
    site.network.cut = True
    with pytest.raises(Unavailable, match="no route"):
        site.open(read_only=True)
    assert not (tmp_path / "fallback").exists()


def test_only_the_stores_that_are_cut_off_fall_back(site, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    site.network.cut = True
    with site.open(target={"default": other, "tape": site.primary}) as keep:
        keep.tape.append(site.point(1))
        keep.sessions.start("bot", mode="paper").stop()
        health = keep.health()
    assert "fallback_for" in health["tape"].facts
    assert [use.stores for use in site.network.uses] == [("tape",)]
    with quantkeep.open(other) as keep:
        assert keep.sessions.get("bot").number == 1


def test_two_places_that_are_cut_off_share_one_commit_there(site, tmp_path):
    other = f"sqlite:///{tmp_path}/other.db"
    site.network.urls.add(other)
    site.network.cut = True
    with site.open(target={"default": other, "tape": site.primary}) as keep:
        session = keep.sessions.start("bot", mode="paper")
        with keep.batch() as batch:
            keep.tape.append(site.point(1), batch=batch)
            session.save(batch=batch)
        session.stop()
        assert len(keep.backends) == 1
        (health,) = keep.health().values()
    assert len(health.warnings) == 2


def test_configured_in_a_file(site, tmp_path):
    file = tmp_path / "quantkeep.toml"
    file.write_text(f'default = "{site.primary}"\nfallback = "{site.fallback}"\n')
    site.network.cut = True
    with site.open(target=file, fallback=None) as keep:
        assert keep.backend.name == "json"
    file.write_text(f'default = "{site.primary}"\nfallback_on = "sunday"\n')
    with pytest.raises(InvalidUrl, match="fallback_on"):
        site.open(target=file, fallback=None)


def test_configured_in_the_environment(site, monkeypatch):
    monkeypatch.setenv("QUANTKEEP_URL", site.primary)
    monkeypatch.setenv("QUANTKEEP_FALLBACK_URL", site.fallback)
    site.network.cut = True
    with quantkeep.open(plugins=[site.network]) as keep:
        assert keep.backend.name == "json"


def test_the_first_place_is_not_gone_on_with_before_the_fallback_was_merged(site, outage):
    outage.tape.append(site.point(3))
    site.network.cut = False
    with pytest.raises(Unmerged, match=r"holds 1 records.*quantkeep merge"):
        site.open()
    with site.open(read_only=True) as keep:
        assert site.equities(keep) == [0, 1, 2]
    assert site.merge().complete
    with site.open() as keep:
        assert site.equities(keep) == [0, 1, 2, 3]


# -- lost while it is open -----------------------------------------------------------------------


def test_a_loss_is_raised_unless_it_was_asked_for(site):
    with site.open() as keep:
        site.network.cut = True
        with pytest.raises(Unavailable, match="reset"):
            keep.tape.append(site.point(1))


def test_a_loss_is_fallen_back_on_if_that_was_asked_for(site):
    with site.open(fallback_on="loss") as keep:
        keep.tape.append([site.point(n) for n in range(3)])
        site.network.cut = True
        keep.tape.append(site.point(3))
        assert site.equities(keep) == [3]
        assert keep.backend.name == "json"
        (health,) = keep.health().values()
        assert "connection reset" in health.warnings[0]
        site.network.cut = False
        keep.tape.append(site.point(4))  # it does not go back and forth
        assert site.equities(keep) == [3, 4]
    assert len(site.network.uses) == 1
    assert site.merge().added == {"equity_history": 2}
    with site.look() as keep:
        assert site.equities(keep) == [0, 1, 2, 3, 4]


def test_an_open_session_goes_no_further_after_a_loss(site):
    with site.open(fallback_on="loss") as keep:
        session = keep.sessions.start("bot", mode="paper")
        site.network.cut = True
        session["x"] = 1
        with pytest.raises((StaleOwner, quantkeep.Conflict)):
            session.save()
        assert keep.sessions.start("bot", mode="paper").session_id != session.session_id


def test_rows_that_were_being_read_are_not_mixed_with_others(site):
    with site.open(fallback_on="loss") as keep:
        keep.tape.append([site.point(n) for n in range(3)])
        rows = keep.tape.scan(type(site.point(0)))
        assert next(rows).total_equity == 0
        site.network.cut = True
        assert site.equities(keep) == []
        assert [row.total_equity for row in rows] == [1, 2]
