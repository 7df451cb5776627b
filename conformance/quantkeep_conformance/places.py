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


@attrs.frozen
class Claims:
    """What a backend says of itself, once it is open."""

    backend: str
    level: Durability
    capabilities: Capability
    facilities: frozenset[Facility]
    failpoints: tuple[str, ...]

    @classmethod
    def of(cls, keep: Keep, url: str) -> "Claims":
        """The claims of the one backend of *keep*."""
        backend = keep.backend
        persistent = Capability.PERSISTENT in backend.capabilities
        path = path_of(Url.parse(url)) if persistent else None
        facilities = set()
        if path is not None and path.exists():
            facilities.add(Facility.BACKUP)
        if _has_backdoor(keep):
            facilities.add(Facility.BACKDOOR)
        return cls(
            backend.name,
            backend.durability,
            backend.capabilities,
            frozenset(facilities),
            tuple(backend.health().facts.get("failpoints", ())),
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
    """

    def __init__(
        self,
        url: str,
        plugins: Sequence[str] = (),
        claims: Claims | None = None,
        nursery: Nursery | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        self.url = url
        self.plugins = tuple(plugins)
        self._claims = claims
        self._nursery = nursery or Nursery()
        self._scratch = scratch
        self._others: list[Place] = []
        self._opened: list[Keep] = []
        self._children: list[Child] = []

    def open(self, **asked: Any) -> Keep:
        """A keep here, with the kit's records; *asked* as :func:`quantkeep.open` takes it.

        Of the stores it has the tape alone: with a fifth of the tables, most clauses begin sooner.
        """
        return self._open({"tape": self.url}, asked)

    def open_whole(self, **asked: Any) -> Keep:
        """As :meth:`open`, with all stores."""
        return self._open(self.url, asked)

    def _open(self, target: object, asked: dict[str, Any]) -> Keep:
        asked.setdefault("records", KIT_RECORDS)
        keep = quantkeep.open(target, plugins=loaded(self.plugins), **asked)
        self._opened.append(keep)
        return keep

    @property
    def claims(self) -> Claims:
        """What the backend here claims."""
        if self._claims is None:
            with quantkeep.open(self.url, plugins=loaded(self.plugins)) as keep:
                self._claims = Claims.of(keep, self.url)
        return self._claims

    def another(self) -> "Place":
        """A second place, as fresh as this one was; raises :class:`Unsupported`."""
        if self._scratch is None:
            self._scratch = Scratch(self.url, self.plugins)
        url = self._scratch.place()
        self._others.append(Place(url, self.plugins, self._claims, self._nursery, self._scratch))
        return self._others[-1]

    def child(self, task: str, **arguments: Any) -> Child:
        """A process that opens a keep here and does *task* (see ``children``)."""
        request = {"task": task, "url": self.url, "plugins": self.plugins, **arguments}
        started = Child(self._nursery, request)
        self._children.append(started)
        return started

    def close(self) -> None:
        """Close every keep and end every process."""
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
            copy = to / file.relative_to(self._folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)

    def restore(self, backup: Path) -> None:
        """Put the files of *backup* back, as ``cp`` would: into the files that are there."""
        for file in self._files():
            if not (backup / file.relative_to(self._folder)).exists():
                file.unlink()
        for copy in filter(Path.is_file, backup.rglob("*")):
            shutil.copyfile(copy, self._folder / copy.relative_to(backup))

    @property
    def _folder(self) -> Path:
        path = path_of(Url.parse(self.url))
        assert path is not None
        return path.parent

    def _files(self) -> list[Path]:
        return [*filter(Path.is_file, self._folder.rglob("*"))]
