"""The appends of one batch: packed where they are many, else row by row."""

from collections.abc import Sequence
from typing import Any

from quantkeep.batch import Append, Batch
from quantkeep.errors import AlreadyExists
from quantkeep_backends.redis import batches, chunks
from quantkeep_backends.redis.arranging import Stored
from quantkeep_backends.redis.packing import Packer
from quantkeep_backends.redis.shapes import Shape
from quantkeep_backends.redis.sources import count
from quantkeep_backends.redis.staging import Learnt, Staging


class Appends:
    """Gives the arguments of each append of *batch*; those to one log are packed together.

    Attributes:
        streams: of packed appends, by the number of the first, the streams of their parts.
    """

    def __init__(self, batch: Batch, learnt: Learnt, stored: Stored, staging: Staging) -> None:
        self._alone = len({write.collection.name for write in batch.writes}) == 1
        self._together = batches.appends(batch)
        self._learnt = learnt
        self._stored = stored
        self._staging = staging
        self._packed = set[str]()
        self._unpacked = set[str]()
        self.streams: dict[int, list[str]] = {}

    def __call__(self, shape: Shape, write: Append, number: int) -> list[Any] | None:
        """The arguments of the write of that *number*.

        ``None`` if some of its identities turn out not to be new: all is to be looked at anew.
        """
        log = shape.collection.name
        together = [] if shape.has_book else self._together.get(log, [])
        if log in self._packed:
            return ["S", log]
        packer = None
        if log not in self._unpacked and worth_packing(together):
            packer = self._packer(shape, together)
        if packer is None:
            self._unpacked.add(log)
            return batches.append(shape, write, plain=bool(together))
        self._packed.add(log)
        self.streams[number] = packer.streams
        return packer.arguments(self._staging, self._staging.freed)

    def _packer(self, shape: Shape, together: Sequence[Append]) -> Packer | None:
        """``None`` where they are refused, but a write before them may have to be refused first."""
        try:
            return Packer(shape, together, self._learnt, self._stored)
        except AlreadyExists:
            if self._alone or sum(count(write) or 0 for write in together) > batches.MOST:
                raise
            return None


def worth_packing(writes: Sequence[Append]) -> bool:
    """Whether there are so many rows that they go into chunks of their own."""
    counts = [count(write) for write in writes]
    return None in counts or sum(n or 0 for n in counts) >= chunks.LEAST
