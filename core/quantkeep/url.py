"""URLs that never show their password."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

from quantkeep.errors import InvalidUrl

T = TypeVar("T")

_ALIASES: Final = {"rediss": "redis", "unix+redis": "redis"}  # with TLS, and by a socket


@attrs.frozen(repr=False)
class Url:
    """``scheme[+transport]://[user[:password]@host[:port]]/path?option=value``, taken apart.

    ``str()`` and ``repr()`` leave the password out; :attr:`full` is for the driver alone.
    """

    full: str = attrs.field(repr=False)
    parts: SplitResult = attrs.field(repr=False)
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "Url":
        """Take *text* apart.

        Raises:
            InvalidUrl: there is no ``scheme://``, or an option is given twice.
        """
        if not re.match(r"[\w+.-]+://", text):
            shown = repr(text) if "@" not in text else "this"  # it may hold a password
            raise InvalidUrl(
                f"{shown} is no URL: expected scheme://..., for example sqlite:///bot.db"
            )
        try:
            parts = urlsplit(text)
            _ = parts.port
        except ValueError:  # it quotes what stands where a port would: part of a password, perhaps
            raise InvalidUrl(
                "the URL cannot be understood: its host or port is none; percent-encode "
                "characters such as / ? # @ in a user name or password"
            ) from None
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        options = dict(pairs)
        if len(options) < len(pairs):
            raise InvalidUrl("the URL gives an option twice")
        return cls(text, parts, options)

    @property
    def scheme(self) -> str:
        """The backend's name: what stands before ``+`` or ``://``, aliases resolved (Z-12)."""
        whole, first = self.parts.scheme, self.parts.scheme.partition("+")[0]
        return _ALIASES.get(whole) or _ALIASES.get(first, first)

    @property
    def transport(self) -> str:
        """What stands after ``+`` in the scheme (``s3`` in ``parquet+s3://``), or nothing."""
        return self.parts.scheme.partition("+")[2]

    @property
    def password(self) -> str | None:
        """The password, for the driver alone."""
        return self.parts.password

    @property
    def path(self) -> Path:
        """The file or folder: ``sqlite:///rel.db`` is relative, ``sqlite:////abs.db`` absolute.

        Raises:
            InvalidUrl: a host is given, or the path is empty.
        """
        host = self.parts.netloc.rpartition("@")[2]  # what stands before it may be a password
        if self.parts.netloc not in ("", "localhost"):
            raise InvalidUrl(
                f"{self}: {host!r} stands where a host would; "
                f"write {self.parts.scheme}:///{host}{self.parts.path} for a path"
            )
        path = unquote(self.parts.path.removeprefix("/"))
        if not path or "\0" in path:
            raise InvalidUrl(f"{self}: expected a path, such as {self.parts.scheme}:///bot.db")
        return Path(path)

    def option(self, name: str, kind: Callable[[str], T], default: T) -> T:
        """The option *name* read by *kind*; raises :class:`InvalidUrl` where it cannot be read."""
        if name not in self.options:
            return default
        try:
            return kind(self.options[name])
        except (ValueError, KeyError) as error:
            raise InvalidUrl(f"{self}: option {name}={self.options[name]!r}: {error}") from None

    def allow(self, *names: str) -> None:
        """Refuse options other than *names*, so that a typing error is not passed over."""
        unknown = sorted(set(self.options) - set(names))
        if unknown:
            known = ", ".join(names) or "no options"
            raise InvalidUrl(f"{self}: unknown option {unknown[0]!r}; {self.scheme} takes {known}")

    def __str__(self) -> str:
        netloc = self.parts.netloc
        if self.parts.password is not None:
            user, _, host = netloc.rpartition("@")
            netloc = f"{user.partition(':')[0]}:***@{host}"
        secret = {"password", "secret", "token", "key", "secret_key", "sslpassword"}
        query = "&".join(f"{k}={'***' if k in secret else v}" for k, v in self.options.items())
        # not urlunsplit: it takes sqlite:////srv/bot.db for a URL with the host srv
        end = (f"?{query}" if query else "") + (f"#{f}" if (f := self.parts.fragment) else "")
        return f"{self.parts.scheme}://{netloc}{self.parts.path}{end}"

    def __repr__(self) -> str:
        return f"Url({str(self)!r})"


def yes_or_no(text: str) -> bool:
    """Read a switch: 1/true/yes/on or 0/false/no/off."""
    switches = {"1": True, "true": True, "yes": True, "on": True}
    switches |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return switches[text.lower()]
    except KeyError:
        raise ValueError("expected yes or no") from None


def as_url(target: "str | Url | Any") -> Url:
    """*target* as a URL."""
    return target if isinstance(target, Url) else Url.parse(str(target))
