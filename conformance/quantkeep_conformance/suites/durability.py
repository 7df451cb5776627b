"""Durability: what was acknowledged is there after kill -9 (Z-18)."""

import pytest

from quantkeep import Capability
from quantkeep import Durability as Level
from quantkeep_conformance.campaigns import Campaign, FailpointCampaign
from quantkeep_conformance.clauses import Suite, requires
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.places import Place


class Durability(Suite):
    """A child process writes and acknowledges on a pipe, and is killed."""

    family = "durability"

    @pytest.mark.requirement("Z-16")
    @requires(Capability.PERSISTENT, Level.PROCESS)
    def test_kill_at_random_moments(
        self, place: Place, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """A writer killed at any moment: every acknowledged write is there once, nothing is half there."""
        campaign = Campaign(place, effort.random("kills"))
        for _ in range(effort.times(10)):
            campaign.kill_at_some_moment()
        evidence.update(campaign.counts(), seed=effort.seed)

    @pytest.mark.requirement("Z-18")
    @requires(Capability.PERSISTENT, Level.PROCESS)
    def test_kill_while_compacting(
        self, place: Place, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """A writer killed while it compacts after every write: as above, the same rows and no others."""
        campaign = Campaign(place, effort.random("compactions"))
        campaign.operations = 1, 3  # each is compacted, which takes some engines their time
        for _ in range(effort.times(6)):
            campaign.kill_at_some_moment(thorough=True)
        evidence.update(campaign.counts(), seed=effort.seed)

    @pytest.mark.requirement("Z-18")
    @requires(Capability.PERSISTENT, Capability.FAILPOINTS, Level.PROCESS)
    def test_kill_at_every_failpoint(
        self, place: Place, effort: Effort, evidence: dict[str, object]
    ) -> None:
        """A writer killed at each step of its write path: as above, for every step."""
        campaign = FailpointCampaign(place, effort.random("failpoints"))
        for _ in range(effort.times(1)):
            campaign.strike_all("kill")
        evidence.update(campaign.counts(), seed=effort.seed)
        assert campaign.kills > campaign.struck * 3 / 4, "most failpoints were never passed"
