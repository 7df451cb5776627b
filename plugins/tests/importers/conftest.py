"""Where imports go."""

from collections.abc import Iterator

import pytest

import quantkeep
from quantkeep import Keep


@pytest.fixture(params=["memory", "sqlite"])
def keep(request, tmp_path) -> Iterator[Keep]:
    """A keep to import into, in memory and in a file."""
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/keep.db"
    with quantkeep.open(url) as opened:
        yield opened
