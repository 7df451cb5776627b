"""Manifests: the state of a keep at one commit, as files; and the pointer to the newest.

_manifest/<commit>-<random>.json   what is in which segment, heads, schema; written once
_spare/<commit>-<random>.json      the same, for the day on which the other is damaged
current.json                       names the newest manifest, and the files of each collection
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import attrs

from quantkeep.collection import Key
from quantkeep.errors import Busy, Corrupt, FormatTooNew
from quantkeep_backends._files import proving
from quantkeep_backends._files.medium import Files
from quantkeep_backends.parquet._scalars import read_key, write_key
from quantkeep_backends.parquet._segments import Segment

CURRENT: Final = "current.json"
FOLDER: Final = "_manifest"
SPARE: Final = "_spare"
_PATIENCE: Final = 30.0
_TRIES: Final = 8  # each time, another compaction has published


@attrs.frozen
class Shelved:
    """One collection in a manifest.

    Attributes:
        heads: of its streams.
        segments: all that there are; no row in them is deleted.
    """

    heads: Mapping[Key, int]
    segments: tuple[Segment, ...]

    def said(self) -> dict[str, Any]:
        """As JSON."""
        heads = [[write_key(stream), head] for stream, head in self.heads.items()]
        return {"heads": heads, "segments": [segment.said() for segment in self.segments]}

    @classmethod
    def heard(cls, said: Mapping[str, Any]) -> "Shelved":
        """What :meth:`said` said."""
        heads = {read_key(stream): head for stream, head in said["heads"]}
        return cls(heads, tuple(Segment.heard(segment) for segment in said["segments"]))


@attrs.frozen
class Manifest:
    """The state at one commit.

    Attributes:
        commit: that commit.
        proof: its checksum, which the next one names.
        damaged: rows that do not match their digest, as they were found: no compaction makes them
            look sound.
    """

    commit: int
    proof: str
    identity: str
    description: str | None
    collections: Mapping[str, Shelved]
    damaged: Sequence[Mapping[str, Any]] = ()

    def said(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "number": self.commit,
            "proof": self.proof,
            "identity": self.identity,
            "description": self.description,
            "collections": {name: s.said() for name, s in self.collections.items()},
            "damaged": [*self.damaged],
        }

    @classmethod
    def heard(cls, said: Mapping[str, Any]) -> "Manifest":
        """What :meth:`said` said."""
        return cls(
            said["number"],
            said["proof"],
            said["identity"],
            said["description"],
            {name: Shelved.heard(s) for name, s in said["collections"].items()},
            said["damaged"],
        )

    @property
    def paths(self) -> set[str]:
        """The segments that it names."""
        return {s.path for shelved in self.collections.values() for s in shelved.segments}


@attrs.frozen
class Reference:
    """A manifest by name, with its checksum."""

    commit: int
    path: str
    sha256: str


def write(files: Files, manifest: Manifest) -> Reference:
    """Write *manifest* under a name of its own."""
    proof, data = proving.written(manifest.said())
    name = f"{manifest.commit:020}-{uuid.uuid4().hex[:8]}.json"
    for folder in (SPARE, FOLDER):
        files.write(f"{folder}/{name}", data)
    return Reference(manifest.commit, f"{FOLDER}/{name}", proof)


def read(files: Files, reference: Reference) -> Manifest | None:
    """The manifest that *reference* names; ``None``: it is gone.

    Raises:
        Corrupt: it is not what was written.
    """
    path = f"{files.root}/{reference.path}"
    data = files.read(reference.path)
    if data is None:
        return None
    commit = proving.read(path, data, reference.commit)
    if commit.proof != reference.sha256:
        raise proving.damaged(path, "its content does not match the sha256 that names it")
    return Manifest.heard(commit.said)


# -- what is current -------------------------------------------------------------------------------


def publish(files: Files, manifest: Manifest, reference: Reference) -> None:
    """Let readers that come from now on begin with *manifest*, unless there is a newer one.

    It never goes back: what an older one names may have been removed.

    Raises:
        Busy: somebody was in the way; the state is whole, and who compacts next publishes his.
    """
    data = _pointer(manifest, reference)
    for _ in range(_TRIES):
        with files.turn(_PATIENCE, must=True):
            seen = files.look(CURRENT)  # first, so that it is no newer than what is read
            if _newest(files) >= reference.commit:
                return
            if files.replace(CURRENT, data, seen):
                return
    raise Busy(f"{files.root}/{CURRENT} was replaced by others again and again; compact again")


def _newest(files: Files) -> int:
    """The commit of the manifest that is current, or, where that is damaged, before the newest."""
    try:
        known = current(files)
    except Corrupt:
        names = sorted(entry.name for entry in files.entries(FOLDER))
        return int(names[-1].removeprefix(f"{FOLDER}/")[:20]) - 1
    return 0 if known is None else known.commit


def current(files: Files) -> Reference | None:
    """What ``current.json`` names; raises :class:`Corrupt` and :class:`FormatTooNew`."""
    data = files.read(CURRENT)
    if data is None:
        return None
    path = f"{files.root}/{CURRENT}"
    try:
        said = json.loads(data)
        version = int(said["format"])
        found = Reference(said["commit"], said["manifest"], said["manifest_sha256"])
        proof = said.pop("sha256")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise proving.damaged(path, f"it cannot be read ({error})") from None
    if version > proving.FORMAT:
        raise FormatTooNew(
            f"{path} has format {version}, and this quantkeep reads up to {proving.FORMAT}: "
            "upgrade it"
        )
    if proof != _proof(said):
        raise proving.damaged(path, "its content does not match its own sha256")
    return found


def _pointer(manifest: Manifest, reference: Reference) -> bytes:
    said: dict[str, Any] = {
        "format": proving.FORMAT,
        "commit": reference.commit,
        "manifest": reference.path,
        "manifest_sha256": reference.sha256,
        "tables": {
            name: [segment.path for segment in shelved.segments]
            for name, shelved in sorted(manifest.collections.items())
            if shelved.segments and not name.startswith("_")
        },
    }
    return (json.dumps({**said, "sha256": _proof(said)}, indent=1) + "\n").encode()


def _proof(said: Mapping[str, Any]) -> str:
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
