"""Faults of the disk below: typed errors that tell the truth, and a keep that goes on."""

import pytest

from quantkeep import Capability
from quantkeep_conformance.campaigns import FailpointCampaign
from quantkeep_conformance.clauses import Suite, requires
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.places import Place


class Faults(Suite):
    """Each failpoint of the write path made to fail, in a process of its own."""

    family = "faults"

    @pytest.mark.requirement("Z-18")
    @requires(Capability.PERSISTENT, Capability.FAILPOINTS)
    def test_disk_full(self, place: Place, effort: Effort, evidence: dict[str, object]) -> None:
        """ENOSPC at any step is StoreFull or a typed error that says if it was applied; then all works."""
        campaign = self._campaign(place, effort, evidence, "ENOSPC")
        not_applied = {e["type"] for e in campaign.errors if e["applied"] == "no"}
        assert not_applied <= {"StoreFull"}, f"no space left was reported as {not_applied}"

    @pytest.mark.requirement("Z-18")
    @requires(Capability.PERSISTENT, Capability.FAILPOINTS)
    def test_disk_error(self, place: Place, effort: Effort, evidence: dict[str, object]) -> None:
        """EIO at any step is a typed error that says whether it was applied; then all works."""
        self._campaign(place, effort, evidence, "EIO")

    def _campaign(
        self, place: Place, effort: Effort, evidence: dict[str, object], fault: str
    ) -> FailpointCampaign:
        campaign = FailpointCampaign(place, effort.random(fault))
        for _ in range(effort.times(1)):
            campaign.strike_all(fault)
        evidence.update(campaign.counts(), seed=effort.seed)
        assert len(campaign.errors) > campaign.struck / 2, "errors went by without a word"
        return campaign
