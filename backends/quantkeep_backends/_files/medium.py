"""What a commit log needs of the place where its files are."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from quantkeep.backend import Durability


class Entry(NamedTuple):
    """A file that is there.

    Attributes:
        name: its path below the root, with ``/``.
        size: in bytes.
        staged: when it was last written, in microseconds since the epoch.
        tag: what the store calls this content of it, where it has a name for that.
    """

    name: str
    size: int
    staged: int
    tag: str = ""


class Files(Protocol):
    """Files below one root, by name. Shared between threads.

    Every method raises typed errors alone. Names are made by us: they hold no identifier as it was
    given, and never leave the root.

    Attributes:
        root: how messages call the place; holds no secret.
        durability: what is reached once a write has returned.
        asking_is_cheap: whether to look at a file costs microseconds, and not a request.
    """

    root: str
    durability: Durability
    asking_is_cheap: bool

    def create(self, name: str, data: bytes) -> bool:
        """Make a file that must not be there yet, whole or not at all.

        Returns:
            Whether it was made by this call; otherwise the name is taken.

        Raises:
            OutcomeUnknown, WriterPoisoned: it may be there, or not.
        """

    def write(self, name: str, data: bytes) -> None:
        """Make *data* the content of a file, wholly or not at all."""

    def replace(self, name: str, data: bytes, known: Entry | None) -> bool:
        """As :meth:`write`, unless the file is no more what :meth:`look` has *known*.

        Returns:
            Whether it was written. Only with :meth:`turn` or a store that compares by itself does
            nobody come in between.
        """

    def read(self, name: str) -> bytes | None:
        """The content of a file; ``None`` if there is none."""

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """As :meth:`read`, several at once where that is faster."""

    def piece(self, name: str, start: int, length: int) -> bytes | None:
        """Part of a file, shorter where it ends; ``None`` if there is none."""

    def look(self, name: str) -> Entry | None:
        """What is known of a file without reading it."""

    def remove(self, name: str, known: Entry | None = None) -> None:
        """Remove a file, if it is there, and is what :meth:`look` has *known*, if that is given."""

    def entries(self, folder: str, after: str = "") -> Iterator[Entry]:
        """All files below *folder* (``""``: the root), by name, those behind *after* at least."""

    def turn(
        self, patience: float, *, must: bool = False
    ) -> contextlib.AbstractContextManager[bool]:
        """Take turns with other writers of this host, where that saves work.

        Gives whether it is ours alone now; whoever waited for *patience* seconds goes on without,
        for :meth:`create` decides.

        Args:
            patience: in seconds.
            must: where turns are all that keeps writers apart, do not go on without.

        Raises:
            Busy: others had their turn for so long, and it must be ours.
        """

    def close(self) -> None:
        """Let go of everything; idempotent."""
