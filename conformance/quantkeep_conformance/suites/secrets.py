"""Secrets: no password from a URL reaches an error, a repr, a log or a traceback (Z-15)."""

import logging
import traceback
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest

import quantkeep
from quantkeep import Keep, QuantkeepError
from quantkeep.url import Url
from quantkeep_conformance.clauses import Suite
from quantkeep_conformance.places import Place
from quantkeep_conformance.records import KIT_RECORDS, Entry
from quantkeep_conformance.scratch import loaded
from quantkeep_conformance.suites.helpers import log

CANARY = "c4n4ry-p4ssw0rd"


def with_password(url: str) -> list[str]:
    """Ways in which a password can stand in a URL for this backend, right and wrong."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    head, path = f"{parts.scheme}://", quote(parts.path)
    query = f"?{parts.query}" if parts.query else ""
    hosts = [host or "localhost", "no-such-host.invalid", "127.0.0.1:1"]
    right = [f"{head}user:{CANARY}@{name}{path}{query}" for name in hosts]
    options = [
        f"{head}{host}{path}?{_other_options(parts.query, name) or 'x=1'}&{name}={CANARY}"
        for name in ("password", "secret")
    ]
    wrong = [
        f"{head}user:{CANARY}/x@{host}{path}{query}",
        f"{head}user:{CANARY}@{host}:nonsense{path}{query}",
        f"{head}user:{CANARY}@[{host}{path}{query}",
        f"{parts.scheme}:user:{CANARY}@{host}{path}{query}",
        f"nonsense://user:{CANARY}@{host}{path}{query}",
    ]
    return [*right, *options, *wrong]


def _other_options(query: str, name: str) -> str:
    """The options of a URL but for one."""
    return "&".join(part for part in query.split("&") if not part.startswith(f"{name}="))


def said_by(error: BaseException | None) -> Iterator[str]:
    """Everything that an error would show, and those it came from."""
    while error is not None:
        yield from (str(error), repr(error), repr(error.args), repr(vars(error)))
        yield from traceback.format_exception(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


class Secrets(Suite):
    """A canary stands where a password would; it must be seen nowhere."""

    family = "secrets"

    @pytest.mark.requirement("Z-15")
    def test_errors(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        """No error of an opening that fails shows the password, nor does anything logged."""
        caplog.set_level(logging.DEBUG)
        for url in with_password(place.url):
            said = [text for error in self._tried(place, url) for text in said_by(error)]
            leaks = [text for text in (*said, caplog.text) if CANARY in text]
            assert not leaks, f"{url.replace(CANARY, '<password>')}: {_shown(leaks[0])}"

    def _tried(self, place: Place, url: str) -> Iterator[BaseException]:
        try:
            plugins = loaded(place.plugins)
            keep = quantkeep.open(url, create=False, records=KIT_RECORDS, plugins=plugins)
        except QuantkeepError as error:
            yield error
        else:
            keep.close()

    def test_urls(self, place: Place) -> None:
        """A URL shows its password neither as text nor in its repr."""
        for url in with_password(place.url)[:5]:
            parsed = Url.parse(url)
            assert CANARY not in f"{parsed} {parsed!r}"

    @pytest.mark.requirement("Z-15")
    def test_handles(self, place: Place, keep: Keep) -> None:
        """Nothing a keep says of itself shows the password it was opened with."""
        log(keep, Entry())
        password = Url.parse(place.url).password or CANARY
        backend = keep.backend
        said = (keep, backend, backend.usable(), backend.health(), keep.health(), keep.sizes())
        assert not [text for text in map(repr, said) if password in text]


def _shown(leak: str) -> str:
    return " ".join(leak.replace(CANARY, "<PASSWORD>").split())[:300]
