"""The engines of a keep: each URL's own, or the fallback while that one cannot be reached."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from quantkeep.backend import Backend
from quantkeep.configuration import Configuration
from quantkeep.errors import NotFound, Unavailable, Unmerged
from quantkeep.fallback import (
    FallbackBackend,
    FallbackUse,
    cannot_be_reached,
    check_merged,
    log,
)
from quantkeep.hookspecs import Opening
from quantkeep.merging._source import name_it
from quantkeep.url import Url

LOOK = Opening(create=False, migrate=False, read_only=True)


@attrs.frozen
class Engines:
    """Opens engines, and decides when the fallback takes the place of one.

    Attributes:
        open: the engine at a URL.
        prepare: make room, in a new engine, for the collections of a description.
        tell: whoever is to know that the fallback is used.
        opened: those that are open already, by URL.
    """

    configuration: Configuration
    opening: Opening
    open: Callable[[str, Opening], Backend]
    prepare: Callable[[Backend, str], None]
    tell: Callable[[FallbackUse], Any]
    opened: Mapping[str, Backend]

    def engine(self, text: str, stores: tuple[str, ...]) -> tuple[str, Backend]:
        """The URL and the engine for *stores*, which are configured to live at *text*.

        Raises:
            Unmerged: it can be reached, but the fallback holds what it lacks.
        """
        fallback = self.configuration.fallback
        if fallback is None or fallback == text:
            return text, self.open(text, self.opening)
        try:
            engine = self.open(text, self.opening)
        except Unavailable as error:
            return fallback, self._fallen(error, fallback, text, stores)
        try:
            self._check_merged(fallback, text)
        except BaseException:
            engine.close()
            raise
        return text, self._watched(engine, fallback, text, stores)

    def _watched(
        self, engine: Backend, fallback: str, text: str, stores: tuple[str, ...]
    ) -> Backend:
        """*engine*, for which the fallback steps in on a loss, if that was asked for."""
        if self.configuration.fallback_on != "loss" or self.opening.read_only:
            return engine

        def replace(error: Unavailable, described: str | None) -> tuple[Backend, FallbackUse]:
            standing_in, use = self._opened(error, fallback, text, stores)
            if described is not None:
                self.prepare(standing_in, described)
            return standing_in, use

        return FallbackBackend(engine, replace=replace)

    def _fallen(
        self, error: Unavailable, fallback: str, text: str, stores: tuple[str, ...]
    ) -> Backend:
        known = self.opened.get(fallback)
        engine, use = self._opened(error, fallback, text, stores, known)
        if isinstance(engine, FallbackBackend):
            engine.uses.append(use)
            return engine
        return FallbackBackend(engine, use)

    def _opened(
        self,
        error: Unavailable,
        fallback: str,
        text: str,
        stores: tuple[str, ...],
        known: Backend | None = None,
    ) -> tuple[Backend, FallbackUse]:
        """The fallback, said out loud; raises *error* where it cannot step in."""
        if not cannot_be_reached(error):
            raise error
        try:
            engine = known or self.open(fallback, self.opening)
        except NotFound as missing:  # it was opened to be looked into
            raise error from missing
        if not self.opening.read_only:
            name_it(engine)
        use = FallbackUse(stores, str(Url.parse(text)), str(Url.parse(fallback)), str(error))
        log.warning("%s", use)
        self.tell(use)
        return engine, use

    def _check_merged(self, fallback: str, text: str) -> None:
        """Raise :class:`Unmerged`; whoever only looks is told in the log."""
        try:
            left = self.open(fallback, LOOK)
        except NotFound:
            return
        except Unavailable as error:
            log.warning("whether %s was merged is not known: %s", Url.parse(fallback), error)
            return
        try:
            check_merged(left, str(Url.parse(fallback)), str(Url.parse(text)))
        except Unmerged as error:
            if not self.opening.read_only:
                raise
            log.warning("%s", error)
        finally:
            left.close()
