"""Keeping strategies by content hash, and the library of templates and atoms."""

from collections.abc import Mapping
from datetime import datetime

from quantkeep.batch import Receipt
from quantkeep.errors import AlreadyExists, InvalidValue
from quantkeep.knowledge._rules import Rules
from quantkeep.knowledge.records import Atom, Strategy, Template
from quantkeep.knowledge.strategy_ids import (
    SPEC_HASH_VERSION,
    content_hash,
    normalized,
    strategy_id,
)
from quantkeep.query import Measure, Tally, Where, where
from quantkeep.store import PendingBatch


class Strategies(Rules):
    """Strategies, templates and atoms."""

    def upsert_strategy(
        self,
        strategy: Strategy,
        *,
        created_at: datetime | None = None,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> str:
        """Store a strategy under the hash of its normalised spec; its id (KB-5, KB-22, KB-27).

        A strategy that is stored already stays as it is, whoever found it again. The spec is
        normalised here; an id of your own rules is taken as it is, if ``spec_hash_version`` names
        those rules. Imports give *created_at*, when it was first made where it comes from.

        Raises:
            AlreadyExists: its id is stored with another spec.
            InvalidValue: the id given is not the hash of the spec.
            InvalidReference: its template is not stored.
        """
        known = self._hashed(strategy)
        stored = self._find(Strategy, known.strategy_id, batch=batch)
        if stored is None:
            _check_id(known)
            return self._store_strategy(known, created_at, op_id, batch)
        _check_same_spec(known, stored)
        if batch is not None and not self._differing(known, stored):
            # immutable: put again it changes nothing, and a batch that is replayed is the same
            self._commit(self._put(known, created_at=created_at), batch=batch)
        return known.strategy_id

    def _hashed(self, strategy: Strategy) -> Strategy:
        """*strategy* normalised, under its id, or under the one it claims."""
        if strategy.spec_hash_version != SPEC_HASH_VERSION:
            if not strategy.strategy_id:
                raise _no_id(strategy, "an id made by the rules that spec_hash_version names")
            return strategy
        spec = normalized(strategy.normalized_spec)
        return strategy.replace(
            normalized_spec=spec, strategy_id=strategy.strategy_id or strategy_id(spec)
        )

    def _store_strategy(
        self,
        strategy: Strategy,
        created_at: datetime | None,
        op_id: str | None,
        batch: PendingBatch | None,
    ) -> str:
        try:
            self._commit(self._put(strategy, created_at=created_at), op_id=op_id, batch=batch)
        except AlreadyExists:
            stored = self._find(Strategy, strategy.strategy_id)  # another writer was first
            if stored is None:
                raise
            _check_same_spec(strategy, stored)
        return strategy.strategy_id

    def strategy(self, strategy_id: str) -> Strategy:
        """The strategy; raises :class:`NotFound`."""
        return self._fetch(Strategy, strategy_id)

    def strategies(
        self,
        *,
        created_from: str | None = None,
        template_id: str | None = None,
        limit: int | None = None,
    ) -> list[Strategy]:
        """Strategies, newest first."""
        asked = where(created_from=created_from, template_id=template_id)
        return self.table(Strategy).list(*asked, order=("-created_at",), limit=limit)

    # -- the library -------------------------------------------------------------------------------

    def save_template(
        self,
        template: Template,
        *,
        op_id: str | None = None,
        batch: PendingBatch | None = None,
    ) -> Receipt:
        """Store a template, in place of what was stored under its id."""
        return self._commit(self._put(template), op_id=op_id, batch=batch)

    def save_atom(
        self, atom: Atom, *, op_id: str | None = None, batch: PendingBatch | None = None
    ) -> Receipt:
        """Store an atom, in place of what was stored under its id."""
        return self._commit(self._put(atom), op_id=op_id, batch=batch)

    def template(self, template_id: str) -> Template:
        """The template; raises :class:`NotFound`."""
        return self._fetch(Template, template_id)

    def templates(self, *, tier: str | None = None, status: str | None = None) -> list[Template]:
        """Templates, by id."""
        return self.table(Template).list(*where(tier=tier, status=status))

    def atom(self, atom_id: str) -> Atom:
        """The atom; raises :class:`NotFound`."""
        return self._fetch(Atom, atom_id)

    def atoms(self, *, category: str | None = None, tier: str | None = None) -> list[Atom]:
        """Atoms, by id."""
        return self.table(Atom).list(*where(category=category, tier=tier))

    def template_usage(self, *, limit: int | None = None) -> Mapping[str, int]:
        """How many stored strategies were made from each template, most used first."""
        used = Tally(
            by=("template_id",),
            measures=(Measure("count"),),
            where=(Where("template_id", "!=", None),),
            order_by=0,
            limit=limit,
        )
        return dict(self.table(Strategy).tally(used))


def _check_id(known: Strategy) -> None:
    if known.spec_hash_version == SPEC_HASH_VERSION:
        follows = strategy_id(known.normalized_spec)
        if known.strategy_id != follows:
            raise _no_id(known, follows)


def _no_id(strategy: Strategy, expected: str) -> InvalidValue:
    return InvalidValue(
        f"is {strategy.strategy_id!r}, which is not the id of its spec",
        record="Strategy", field="strategy_id", value=strategy.strategy_id, expected=expected,
    )  # fmt: skip


def _check_same_spec(known: Strategy, stored: Strategy) -> None:
    """Refuse another body under a stored id. Hashes are compared: NaN is no equal of itself."""
    if _body(known) != _body(stored):
        raise AlreadyExists(
            f"strategies {stored.strategy_id!r} is stored already, with another normalized_spec: "
            "a strategy never changes; save the new one under its own id"
        )


def _body(strategy: Strategy) -> tuple[str, str]:
    return content_hash(strategy.normalized_spec, "normalized_spec"), strategy.spec_hash_version
