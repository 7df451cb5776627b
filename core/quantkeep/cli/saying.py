"""What the library logs as a warning, said to whoever runs a command."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

from quantkeep.cli.sentences import one_line


class _Saying(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"quantkeep: {one_line(record.getMessage())}", err=True)


@contextmanager
def warnings_said() -> Iterator[None]:
    """Within the block, warnings go to stderr: that a fallback is in use, that a tail was torn."""
    log, saying = logging.getLogger("quantkeep"), _Saying(logging.WARNING)
    log.addHandler(saying)
    try:
        yield
    finally:
        log.removeHandler(saying)
