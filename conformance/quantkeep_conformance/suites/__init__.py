"""The suites: subclass one, give it a ``store_url`` fixture, and its clauses run.

``from quantkeep_conformance.suites import SUITES`` has them all, in the order of the report.
"""

from quantkeep_conformance.clauses import Clause, Suite, clauses_of
from quantkeep_conformance.suites.atomicity import Atomicity
from quantkeep_conformance.suites.backtests import Backtests
from quantkeep_conformance.suites.corruption import Corruption
from quantkeep_conformance.suites.damage import DamagedFiles
from quantkeep_conformance.suites.durability import Durability
from quantkeep_conformance.suites.embedding import Embedding
from quantkeep_conformance.suites.faults import Faults
from quantkeep_conformance.suites.files import Files
from quantkeep_conformance.suites.honesty import Honesty
from quantkeep_conformance.suites.hostile import Hostile
from quantkeep_conformance.suites.housekeeping import Housekeeping
from quantkeep_conformance.suites.identity import Identity
from quantkeep_conformance.suites.knowledge import Knowledge
from quantkeep_conformance.suites.leases import Leases
from quantkeep_conformance.suites.listing import Listing
from quantkeep_conformance.suites.model import Model
from quantkeep_conformance.suites.one_winner import OneWinner
from quantkeep_conformance.suites.operations import Operations
from quantkeep_conformance.suites.predictions import Predictions
from quantkeep_conformance.suites.references import References
from quantkeep_conformance.suites.refusals import Refusals
from quantkeep_conformance.suites.reopen import Reopen
from quantkeep_conformance.suites.revisions import Revisions
from quantkeep_conformance.suites.roundtrip import Roundtrip
from quantkeep_conformance.suites.secrets import Secrets
from quantkeep_conformance.suites.server import Server
from quantkeep_conformance.suites.sessions import Sessions
from quantkeep_conformance.suites.tallies import Tallies
from quantkeep_conformance.suites.tape import Tape
from quantkeep_conformance.suites.values import Values

SUITES: tuple[type[Suite], ...] = (
    Values,
    Refusals,
    Roundtrip,
    Identity,
    References,
    Revisions,
    Listing,
    Tallies,
    OneWinner,
    Leases,
    Operations,
    Atomicity,
    Durability,
    Faults,
    Files,
    DamagedFiles,
    Reopen,
    Corruption,
    Honesty,
    Housekeeping,
    Embedding,
    Hostile,
    Secrets,
    Server,
    Sessions,
    Tape,
    Predictions,
    Backtests,
    Knowledge,
    Model,
)


def catalogue() -> list[Clause]:
    """Every clause of the kit."""
    return [clause for suite in SUITES for clause in clauses_of(suite)]


__all__ = [
    "SUITES",
    "Atomicity",
    "Backtests",
    "Corruption",
    "DamagedFiles",
    "Durability",
    "Embedding",
    "Faults",
    "Files",
    "Honesty",
    "Hostile",
    "Housekeeping",
    "Identity",
    "Knowledge",
    "Leases",
    "Listing",
    "Model",
    "OneWinner",
    "Operations",
    "Predictions",
    "References",
    "Refusals",
    "Reopen",
    "Revisions",
    "Roundtrip",
    "Secrets",
    "Server",
    "Sessions",
    "Tallies",
    "Tape",
    "Values",
    "catalogue",
]
