"""The naive backends are importable as ``naive``, here and in the children of the kit."""

import sys
from pathlib import Path

import pytest
from hypothesis import Phase

from quantkeep_conformance import effort

HERE = str(Path(__file__).parent)

if HERE not in sys.path:
    sys.path.insert(0, HERE)


@pytest.fixture(autouse=True)
def nothing_is_shrunk(monkeypatch):
    """That a defect is found is what counts here; nobody reads by what example."""
    monkeypatch.setattr(effort, "PHASES", (Phase.explicit, Phase.generate))
