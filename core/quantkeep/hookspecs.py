"""The whole extension surface: what a backend or a plugin may implement, with ``@hookimpl``.

Backends are entry points of the group ``quantkeep.backends``, named after their scheme; only the
one that a URL names is imported. Plugins are entry points of ``quantkeep.plugins``, and take part
in a keep when they are named in ``open(url, plugins=[...])`` or in its configuration.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from quantkeep.backend import Backend, Capability, Durability
from quantkeep.fallback import FallbackUse
from quantkeep.url import Url

if TYPE_CHECKING:
    from quantkeep.records import Record

PROJECT = "quantkeep"
BACKENDS = "quantkeep.backends"
PLUGINS = "quantkeep.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@attrs.frozen
class Opening:
    """How a keep is to be opened; the arguments of :func:`quantkeep.open`.

    Attributes:
        create: make a keep where there is none; otherwise that is ``NotFound``.
        migrate: whether ``ensure`` may be called on a keep of an older schema. Not the backend's
            to look at.
        read_only: nothing will be written through this handle. A keep that is not there is not
            made, whatever *create* says.
        durability: the least level that will do; hold yours against it with
            :func:`quantkeep.contract.require_level`.
    """

    create: bool = True
    migrate: bool = True
    read_only: bool = False
    durability: Durability | None = None


@attrs.frozen
class BackendInfo:
    """What ``quantkeep backends`` shows of a backend without opening it.

    Attributes:
        scheme: of its URLs; the name of its entry point.
        summary: one line.
        example: a URL.
        capabilities: the same that it claims once it is open.
        durability: the level that it reaches by default.
        options: the options its URLs take, and what each does.
        transports: the capabilities behind a ``scheme+transport://`` that makes a difference.
    """

    scheme: str
    summary: str
    example: str
    capabilities: Capability
    durability: Durability
    options: dict[str, str] = attrs.field(factory=dict)
    transports: dict[str, Capability] = attrs.field(factory=dict)


@hookspec(firstresult=True)
def quantkeep_open(url: Url, opening: Opening) -> Backend | None:
    """Open the engine at *url*, or return ``None`` if its scheme is another backend's.

    Raise ``NotFound`` if there is no keep and ``opening.create`` is false, ``DurabilityNotMet`` if
    the observed settings do not reach ``opening.durability``, ``Unavailable`` if the engine cannot
    be reached, ``Busy`` if another process has it and it takes one alone.

    To stand in front of every backend, implement this as a wrapper::

        @hookimpl(wrapper=True)
        def quantkeep_open(url, opening):
            backend = yield
            return backend and Audited(backend)
    """


@hookspec
def quantkeep_backend() -> BackendInfo:  # type: ignore[empty-body]  # a specification
    """Describe the backend for the listing."""


@hookspec(firstresult=True)
def quantkeep_scratch(url: Url, name: str) -> str | None:
    """The URL of a place of its own beside *url*, where a fresh keep called *name* can be opened.

    For tests: the conformance kit asks for one for each clause, so that nothing at *url* itself is
    touched. A backend on a server gives *url* with another schema or key prefix; one on files, or
    without persistence, need not implement this. Return ``None`` for another backend's scheme.
    """


@hookspec
def quantkeep_scratch_discard(url: Url) -> None:
    """Remove the keep at *url*, which :func:`quantkeep_scratch` gave, with all that is in it."""


@hookspec
def quantkeep_fallback(use: FallbackUse) -> None:
    """A keep goes on at its fallback: ring a bell. What this raises ends the opening."""


@hookspec
def quantkeep_records() -> "Sequence[type[Record]]":  # type: ignore[empty-body]  # a specification
    """Record classes that this plugin adds to every keep it takes part in."""


@hookspec
def quantkeep_commands() -> Sequence[Any]:  # type: ignore[empty-body]  # a specification
    """Click commands that join the ``quantkeep`` command line."""


@hookspec
def quantkeep_importers() -> Sequence[Any]:  # type: ignore[empty-body]  # a specification
    """Click commands that join ``quantkeep import``, each named after the kind that it takes.

    Each takes the path as its argument, and ``--to URL``; see :mod:`quantkeep.cli.importing`.
    """
