"""What every knowledge record says of the programs and rules it was made by (KB-34)."""

from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import attrs

from quantkeep.records import Record, field

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def _part(cls: type[T]) -> type[T]:
    """Make *cls* a group of fields that records share."""
    make: Callable[[type[T]], type[T]] = attrs.frozen(kw_only=True, slots=True)
    return make(cls)


@_part
class Versioned(Record):
    """A record that says what made it. The versions are texts that never change their meaning."""

    document_schema: str | None = field(
        default=None, doc="schema of the source's document, such as SCHEMA-340"
    )
    policy_version: str | None = field(default=None, doc="rules applied: score_v1, rules_v0")
    engine_version: str | None = field(default=None, doc="name and version of the engine")
    model_version: str | None = field(default=None, doc="version of the model that took part")
    code_version: str | None = field(default=None, doc="git commit hash of the program")


def placed(doc: str, *, index: bool = False, references: str | None = None) -> Any:
    """A field the store sets when the record is saved; it is ``None`` until then."""
    return field(default=None, doc=f"{doc}; set by the store", index=index, references=references)
