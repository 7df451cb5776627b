"""The server that clauses may stop, where the kit has started one."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import attrs

from quantkeep.errors import InvalidUrl
from quantkeep.url import Url
from quantkeep_conformance.servers import Server, started
from quantkeep_conformance.servers._starting import as_settings


@attrs.frozen(eq=False)
class Serving:
    """Handed to the plugin by who started the server; ``None`` where there is none.

    Attributes:
        server: the one under test.
        name: what it is called, so that a clause can start another one, configured otherwise.
        settings: what was added to its configuration.
    """

    server: Server | None = None
    name: str | None = None
    settings: tuple[str, ...] = ()

    def store(self, given: str | None) -> str:
        """The URL to check: the server's, or the one *given*, with the server's for ``{url}``.

        Raises:
            InvalidUrl: it is not of the server.
        """
        if self.server is None:
            return given or ""
        if given and "{url}" not in given:
            raise InvalidUrl(f"{Url.parse(given)} is not on {self.name}: write {{url}} for its URL")
        return (given or "{url}").replace("{url}", self.server.store)


@contextmanager
def serving(name: str | None, settings: Sequence[str] = ()) -> Iterator[Serving]:
    """The server called *name* with ``NAME=VALUE`` settings, running; none without a name.

    Raises:
        ServerUnavailable: it cannot be started.
    """
    with ExitStack() as stack:
        server = stack.enter_context(started(name, as_settings([*settings]))) if name else None
        yield Serving(server, name, tuple(settings))
