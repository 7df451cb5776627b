"""Failpoints of the write paths, told as the server's own errors would be."""

from typing import Final

from quantkeep.errors import scrubbed
from quantkeep.failpoints import passing
from quantkeep_backends.redis.link import Link

FAILPOINTS: Final = (
    "redis.make.send",
    "redis.ensure.send",
    "redis.stage.send",
    "redis.commit.send",
    "redis.commit.answered",
    "redis.seal.send",
    "redis.blob.send",
)


def step(name: str, link: Link) -> None:
    """Pass the failpoint *name*."""
    try:
        passing(name)
    except OSError as error:
        raise link.meaning(error) from scrubbed(error)
