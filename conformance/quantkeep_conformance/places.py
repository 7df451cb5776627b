"""What a clause is given: one fresh place, the keeps opened there, and what its backend claims."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

import quantkeep
from quantkeep import Capability, Durability, Keep, Unsupported
from quantkeep.url import Url
from quantkeep_conformance.clauses import Facility, Need, need_in_words
from quantkeep_conformance.nursery import Nursery
from quantkeep_conformance.processes import Child
from quantkeep_conformance.records import KIT_RECORDS
from quantkeep_conformance.scratch import Scratch, loaded, path_of
from quantkeep_conformance.servers import Process, Server
from quantkeep_conformance.serving import Serving


@attrs.frozen
class Claims:
    """What a backend says of itself, once it is open."""

    backend: str
    level: Durability
    capabilities: Capability
    facilities: frozenset[Facility]
    failpoints: tuple[str, ...]

    @classmethod
    def of(cls, keep: Keep, url: str, server: Server | None = None) -> "Claims":
        """The claims of the one backend of *keep*, which may be on a *server* of the kit's."""
        backend = keep.backend
        persistent = Capability.PERSISTENT in backend.capabilities
        path = path_of(Url.parse(url)) if persistent else None
        facts, in_files = backend.health().facts, path is not None and path.exists()
        verified = in_files and "unchecked_files" not in facts
        facilities = {
            Facility.BACKUP: in_files,
            Facility.VERIFIED_FILES: verified,
            Facility.CHECKED_FILES: verified and "late_checks" not in facts,
            Facility.DIVIDED_FILES: verified and "damage_spreads" not in facts,
            Facility.BACKDOOR: _has_backdoor(keep),
            Facility.SERVER: server is not None and server.ours,
            Facility.FILES_OF_SERVER: server is not None and server.ours and server.keeps,
        }
        return cls(
            backend.name,
            backend.durability,
            backend.capabilities,
            frozenset(facility for facility, there in facilities.items() if there),
            tuple(facts.get("failpoints", ())),
        )

    def lacks(self, needs: Iterable[Need]) -> list[str]:
        """What of *needs* is not claimed, in words."""
        return [need_in_words(need) for need in needs if not self._meets(need)]

    def _meets(self, need: Need) -> bool:
        if isinstance(need, Facility):
            return need in self.facilities
        if isinstance(need, Durability):
            return self.level >= need
        return need in self.capabilities


def _has_backdoor(keep: Keep) -> bool:
    try:
        keep.backend.backdoor()
    except Unsupported:
        return False
    return True


class Place:
    """The URL of a fresh, empty keep, and everything a clause opens or starts there.

    Attributes:
        url: where.
        plugins: names of quantkeep plugins that every opening takes along.
        serving: the server that this is on, if the kit started one.
    """

    def __init__(
        self,
        url: str,
        plugins: Sequence[str] = (),
        claims: Claims | None = None,
        nursery: Nursery | None = None,
        scratch: Scratch | None = None,
        serving: Serving | None = None,
    ) -> None:
        self.url = url
        self.plugins = tuple(plugins)
        self._claims = claims
        self._nursery = nursery or Nursery()
        self._scratch = scratch
        self.serving = serving or Serving()
        self._others: list[Place] = []
        self._opened: list[Keep] = []
        self._children: list[Child] = []

    def open(self, **asked: Any) -> Keep:
        """A keep here, with the kit's records; *asked* as :func:`quantkeep.open` takes it.

        Of the stores it has the tape alone: with a fifth of the tables, most clauses begin sooner.
        """
        return self._open({"tape": self.url}, asked)

    def open_at(self, url: str, **asked: Any) -> Keep:
        """As :meth:`open`, by another URL of this place."""
        return self._open({"tape": url}, asked)

    def url_on(self, server: Server) -> str:
        """The URL on another *server* that the one under test has on its own."""
        ours, asked = self.serving.server, self._scratch.url.full if self._scratch else self.url
        assert ours is not None
        return asked.replace(ours.store, server.store)

    def open_whole(self, **asked: Any) -> Keep:
        """As :meth:`open`, with all stores."""
        return self._open(self.url, asked)

    def _open(self, target: object, asked: dict[str, Any]) -> Keep:
        asked.setdefault("records", KIT_RECORDS)
        keep = quantkeep.open(target, plugins=loaded(self.plugins), **asked)
        self._opened.append(keep)
        return keep

    @property
    def server(self) -> Process:
        """The process of the server that this place is on; for clauses that need one."""
        server = self.serving.server
        assert server is not None, "this clause needs Facility.SERVER"
        assert server.process is not None, "the server was not started here"
        return server.process

    @property
    def is_as_shipped(self) -> bool:
        """Whether neither options of the URL nor settings of a server decide on what is kept."""
        server, here = self.serving.server, Url.parse(self.url)
        if server is not None:  # a place of its own on it may be an option
            asked = self._scratch.url if self._scratch else here
            return server.ours and not self.serving.settings and not asked.options
        elsewhere = Capability.PERSISTENT in self.claims.capabilities and path_of(here) is None
        return not elsewhere and not here.options

    @property
    def claims(self) -> Claims:
        """What the backend here claims."""
        if self._claims is None:
            with quantkeep.open(self.url, plugins=loaded(self.plugins)) as keep:
                self._claims = Claims.of(keep, self.url, self.serving.server)
        return self._claims

    def another(self) -> "Place":
        """A second place, as fresh as this one was; raises :class:`Unsupported`."""
        if self._scratch is None:
            self._scratch = Scratch(self.url, self.plugins)
        url = self._scratch.place()
        self._others.append(
            Place(url, self.plugins, self._claims, self._nursery, self._scratch, self.serving)
        )
        return self._others[-1]

    def child(self, task: str, **arguments: Any) -> Child:
        """A process that opens a keep here and does *task* (see ``children``)."""
        request = {"task": task, "url": self.url, "plugins": self.plugins, **arguments}
        started = Child(self._nursery, request)
        self._children.append(started)
        return started

    def close(self) -> None:
        """Close every keep and end every process; a server of the kit's answers again."""
        server = self.serving.server
        if server is not None and server.process is not None:
            server.process.revive()
        for child in self._children:
            child.end()
        for keep in self._opened:
            keep.close()
        self._children.clear()
        self._opened.clear()
        for place in self._others:
            place.close()
            if self._scratch is not None:
                self._scratch.discard(place.url)
        self._others.clear()

    # -- backups of what stands in files -----------------------------------------------------------

    def back_up(self, to: Path) -> None:
        """Copy the files of this place to the new folder *to*."""
        to.mkdir()
        for file in self._files():
            copy = to / file.relative_to(self.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)

    def restore(self, backup: Path) -> None:
        """Put the files of *backup* back, as ``cp`` would: into the files that are there."""
        for file in self._files():
            if not (backup / file.relative_to(self.folder)).exists():
                file.unlink()
        for copy in filter(Path.is_file, backup.rglob("*")):
            shutil.copyfile(copy, self.folder / copy.relative_to(backup))

    @property
    def folder(self) -> Path:
        """The folder that this place is in; for clauses that need its files."""
        path = path_of(Url.parse(self.url))
        assert path is not None
        return path.parent

    def file_names(self) -> list[Path]:
        """The files of this place, by their names in its folder."""
        return [file.relative_to(self.folder) for file in self._files()]

    def _files(self) -> list[Path]:
        return [*filter(Path.is_file, self.folder.rglob("*"))]
