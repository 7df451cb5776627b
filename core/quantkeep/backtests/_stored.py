"""What a record knows of each file: enough to find, read and check it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import attrs

from quantkeep.blobs import BlobRef
from quantkeep.errors import Corrupt

REMAINDER: Final = "remainder"  # what the JSON said beside the three tables


@attrs.frozen(kw_only=True)
class StoredFile:
    """One table's Parquet file.

    Attributes:
        rows: of the table.
        etag: MD5 of the file, in hexadecimal (BT-23).
        blob: where it is, and its SHA-256.
        decimals: columns kept as decimals, with their digits after the point.
        zeros: those of them beside which a column says which zeros are negative.
        rules: how the columns that are not in the file follow from those that are.
        starts: for each row group that goes on with a symbol, the peak and start to go on from.
        proofs: digests of the columns that follow, for each row group.
        given: the Arrow schema the caller's table had, if it was another (base64 of IPC).
        forms: how lists of JSON objects were spelled, each once.
        form_of: which of them each symbol's list has; empty: the first.
    """

    rows: int
    etag: str
    blob: BlobRef
    decimals: Mapping[str, int] = attrs.field(factory=dict)
    zeros: Sequence[str] = ()
    rules: Sequence[Mapping[str, Any]] = ()
    starts: Sequence[Sequence[float] | None] = ()
    proofs: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    given: str | None = None
    forms: Sequence[Mapping[str, Any]] = ()
    form_of: Sequence[int] = ()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.blob.size

    def as_document(self) -> dict[str, Any]:
        """As the record holds it; what says nothing is left out."""
        said: dict[str, Any] = {
            "row_count": self.rows,
            "file_size_bytes": self.size,
            "etag": self.etag,
            "file": self.blob.as_document(),
        }
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value:
                said[name] = value
        return said

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """What :meth:`as_document` gave; raises :class:`Corrupt`."""
        try:
            return cls(
                rows=document["row_count"],
                etag=document["etag"],
                blob=BlobRef.from_document(document["file"]),
                **{name: document[name] for name in _OPTIONAL if name in document},
            )
        except (KeyError, TypeError) as error:
            raise Corrupt(f"this describes no stored table: {error}") from None


_OPTIONAL: Final = (
    "decimals", "zeros", "rules", "starts", "proofs", "given", "forms", "form_of",
)  # fmt: skip
