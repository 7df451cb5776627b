"""Strategies by content hash, and the library they are made from (KB-5, KB-12)."""

from typing import Any, Literal

from quantkeep.knowledge.records.versions import Versioned, placed
from quantkeep.records import field, record

Tier = Literal["T0", "T1", "T2", "T3", "T4", "T5"]


@record("strategies", key=("strategy_id",), immutable=True)
class Strategy(Versioned):
    """What a strategy is. Its id is the hash of its normalised spec; it never changes (KB-22)."""

    strategy_id: str = placed("content hash, see docs/strategy-ids.md")
    normalized_spec: dict[str, Any] = field(doc="normalised by the rules of spec_hash_version")
    created_from: str = field(index=True, doc="template id, llm, import ...")
    template_id: str | None = field(default=None, index=True, references="templates")
    spec_hash_version: str = field(default="1", doc="rules that the id was made by")


@record("templates", key=("template_id",))
class Template(Versioned):
    """A pattern that strategies are made from."""

    template_id: str
    name: str | None = None
    tier: Tier | None = field(default=None, index=True)
    status: str = field(
        default="ACTIVE", choices=("EXPERIMENTAL", "ACTIVE", "DEPRECATED"), extensible=True
    )
    confidence: float | None = field(default=None, between=(0, 1), doc="0 to 1")
    usage_count: int = field(default=0, doc="strategies made from it, as the library counts")
    definition: dict[str, Any] | None = None


@record("atoms", key=("atom_id",))
class Atom(Versioned):
    """A building block of strategies: an indicator, a filter, an exit rule."""

    atom_id: str
    name: str | None = None
    category: str | None = field(default=None, index=True, doc="indicator, filter, exit ...")
    tier: Tier | None = field(default=None, index=True)
    status: str = field(
        default="ACTIVE", choices=("EXPERIMENTAL", "ACTIVE", "DEPRECATED"), extensible=True
    )
    confidence: float | None = field(default=None, between=(0, 1), doc="0 to 1")
    usage_count: int = field(default=0, doc="strategies that use it, as the library counts")
    definition: dict[str, Any] | None = None
