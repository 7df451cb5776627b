"""A stored object whose class is not known here."""

from typing import Any, Literal

import attrs


@attrs.frozen(hash=False)
class Opaque:
    """An object or enum member of a class that is not registered here, as it was stored.

    It can be shown, copied and compared, and encodes back to the very same text; only resuming it
    into an object needs the class (Z-4).

    Attributes:
        name: the name the class was registered under.
        value: the fields of an object by name (or what its hook gave); the name of an enum member.
        kind: ``"host"`` for an object, ``"enum"`` for a member.
    """

    name: str
    value: Any
    kind: Literal["host", "enum"] = attrs.field(default="host", kw_only=True)

    def __hash__(self) -> int:
        # Of what is hashable for certain: objects of frozen classes are kept in sets.
        return hash((self.kind, self.name))
