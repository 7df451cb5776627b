"""Where clauses work: beside what is under test, and never in it."""

import pytest
from naive import journal

import quantkeep
from quantkeep import Unsupported, hookimpl
from quantkeep.errors import InvalidUrl
from quantkeep_conformance import scratch
from quantkeep_conformance.places import Place
from quantkeep_conformance.scratch import Scratch

SOUND = "naive.journal:SOUND"


class Server:
    """A plugin that says where there is room, as a backend on a server does."""

    def __init__(self):
        self.discarded = []

    @hookimpl
    def quantkeep_scratch(self, url, name):
        return f"{url.full}?schema={name}" if url.scheme == "served" else None

    @hookimpl
    def quantkeep_scratch_discard(self, url):
        self.discarded.append(url.full)


SERVER = Server()


class Stubborn(journal.Journal):
    """A persistent backend that gives no place to work in."""

    @hookimpl
    def quantkeep_open(self, url, opening):
        return self.backend(self.path) if url.scheme == "stubborn" else None


def test_files_get_folders_beside_theirs(tmp_path):
    mine = tmp_path / "mine.journal"
    quantkeep.open(f"journal:///{mine}", plugins=[journal.SOUND]).close()
    before = mine.read_bytes()
    places = Scratch(f"journal:///{mine}", [SOUND])
    urls = [places.place() for _ in range(2)]
    for url in urls:
        Place(url, [SOUND]).open().close()
    assert len(set(urls)) == 2
    assert mine.read_bytes() == before
    places.discard(urls[0])
    assert len([*tmp_path.rglob("mine.journal")]) == 2
    places.close()
    assert {*tmp_path.iterdir()} == {mine, mine.with_name("length")}


def test_options_are_kept(tmp_path):
    places = Scratch(f"sqlite:///{tmp_path}/x.db?synchronous=normal")
    assert places.place().endswith("/x.db?synchronous=normal")
    places.close()


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(InvalidUrl, match="no folder"):
        Scratch(f"sqlite:///{tmp_path}/missing/x.db").place()


def test_what_keeps_nothing_is_its_own_place():
    assert Scratch("memory://").place() == "memory://"


def test_a_server_says_where(monkeypatch):
    monkeypatch.setattr(scratch, "loaded", lambda names: [SERVER])
    places = Scratch("served://somewhere/db", ["unused"])
    url = places.place()
    assert url == "served://somewhere/db?schema=kit_1"
    places.close()
    assert SERVER.discarded == [url]


def test_a_server_that_does_not_is_refused(monkeypatch, tmp_path):
    stubborn = Stubborn(journal.JournalBackend)
    stubborn.path = tmp_path / "x"
    monkeypatch.setattr(scratch, "loaded", lambda names: [stubborn])
    with pytest.raises(Unsupported, match="quantkeep_scratch"):
        Scratch("stubborn://somewhere", ["unused"]).place()
