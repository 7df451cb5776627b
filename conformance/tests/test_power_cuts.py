"""Power cuts: what a store says is on the disk is there when the page cache is not.

A file system on an image of its own; a writer is stopped, the image copied as it is at that moment,
and the copy mounted, which replays the file system's journal as after a cut. It shows what had been
handed to the disk, and not what a disk does with its own cache.
"""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantkeep import Durability
from quantkeep_conformance.campaigns import LONG, Campaign, until_ready
from quantkeep_conformance.nursery import Nursery
from quantkeep_conformance.places import Place

pytestmark = pytest.mark.faults
CUTS = 6


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)


@pytest.fixture
def image(tmp_path) -> Path:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(48 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    return image


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


def cut(image: Path, url: str, draw: random.Random, nursery: Nursery) -> Campaign:
    """A writer, a power cut while it works, and what is then found; raises ``AssertionError``."""
    disk, found = image.parent / "disk", image.parent / "found"
    writing = Place(url.format(disk), nursery=nursery)
    reading = Place(url.format(found), nursery=nursery)
    try:
        with mounted(image, disk):
            child = writing.child("write", start=0, limit=LONG, thorough=False)
            events = until_ready(child)
            time.sleep(draw.uniform(0.05, 0.3))
            child.pause()
            events += child.said_already()
            shutil.copyfile(image, image.parent / "copy")
            child.kill()
            child.wait()
        with mounted(image.parent / "copy", found):
            campaign = Campaign(reading, draw)
            campaign._examine(child, events)
    finally:
        writing.close()
        reading.close()
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    return campaign


def level(url: str, folder: Path) -> Durability:
    (folder / "look").mkdir()
    return Place(url.format(folder / "look")).claims.level


@pytest.mark.requirement("Z-16")
@pytest.mark.parametrize(
    "url",
    ["sqlite:///{}/cut.db", "json:///{}/cut", "parquet:///{}/cut"],
    ids=["sqlite", "json", "parquet"],
)
def test_what_was_acknowledged_survives(url, image, tmp_path, nursery, seed):
    assert level(url, tmp_path) is Durability.DISK
    draw, acknowledged = random.Random(seed), 0
    for _ in range(CUTS):
        acknowledged += cut(image, url, draw, nursery).acknowledged
    print(f"{CUTS} cuts, {acknowledged} acknowledged, none lost")
    assert acknowledged > CUTS


@pytest.mark.requirement("Z-16")
def test_what_says_less_loses_as_it_says(image, tmp_path, nursery, seed):
    """The control: without a sync for each commit, cuts do lose what was acknowledged."""
    url = "sqlite:///{}/cut.db?synchronous=normal"
    assert level(url, tmp_path) is Durability.PROCESS
    draw = random.Random(seed)
    with pytest.raises(AssertionError, match="lost after it was acknowledged"):
        for _ in range(5 * CUTS):
            cut(image, url, draw, nursery)
