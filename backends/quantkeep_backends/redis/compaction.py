"""Making all logs smaller and quicker to read, beside running readers and writers."""

from collections.abc import Iterator

from quantkeep.progress import counted
from quantkeep_backends.redis.catalogue import Catalogue
from quantkeep_backends.redis.joining import Joining
from quantkeep_backends.redis.reading import Reading
from quantkeep_backends.redis.sealing import Sealing
from quantkeep_backends.redis.streams import Stream


class Compaction:
    """Compacts one keep. Each step is one script, which does nothing if it comes too late."""

    def __init__(
        self, catalogue: Catalogue, reading: Reading, sealing: Sealing, joining: Joining
    ) -> None:
        self._catalogue = catalogue
        self._reading = reading
        self._sealing = sealing
        self._joining = joining

    def compact(self) -> None:
        """Pack single entries, join small chunks, fold the identities of large appends."""
        self._catalogue.look()
        streams = [*self._streams()]
        for stream in counted(streams, "packing logs", len(streams)):
            self._sealing.seal(stream)
            self._joining.join(stream)
            self._sealing.fold(stream)

    def _streams(self) -> Iterator[Stream]:
        for shape in self._catalogue.shapes.values():
            if shape.collection.log:
                for head in self._reading.heads(shape.collection):
                    yield self._reading.stream(shape, shape.collection, head.stream)
