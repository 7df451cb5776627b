"""Where a keep is, when it is not said in the call.

Argument, then ``QUANTKEEP_URL``, ``QUANTKEEP_<STORE>_URL`` and ``QUANTKEEP_FALLBACK_URL``, then
``quantkeep.toml`` or ``[tool.quantkeep]`` of ``pyproject.toml`` in the working folder.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from quantkeep.errors import InvalidUrl

STORES: Final = ("sessions", "tape", "predictions", "backtests", "knowledge")
_SETTINGS: Final = ("durability", "fallback", "fallback_on", "plugins")


@attrs.frozen
class Configuration:
    """Which URL each store has, and what else a file may say."""

    urls: Mapping[str, str]  # by store; "" is the default
    durability: str | None = None
    plugins: tuple[str, ...] = ()
    fallback: str | None = None  # a URL, for when one of the others cannot be reached
    fallback_on: str = "open"

    @classmethod
    def understood(cls, said: Mapping[str, Any], source: str) -> "Configuration":
        """The configuration *said* in *source*; raises :class:`InvalidUrl`, naming the key."""
        unknown = sorted(set(said) - {"default", *STORES, *_SETTINGS})
        if unknown:
            known = ", ".join(("default", *STORES, *_SETTINGS))
            raise InvalidUrl(f"{source}: unknown key {unknown[0]!r}; expected {known}")
        urls = {("" if k == "default" else k): v for k, v in said.items() if k not in _SETTINGS}
        wrong = [name for name, url in urls.items() if not isinstance(url, str)]
        if wrong:
            raise InvalidUrl(f"{source}: {wrong[0] or 'default'} must be a URL, as text")
        if not urls:
            raise InvalidUrl(f'{source}: names no URL; write default = "sqlite:///bot.db"')
        plugins = said.get("plugins", ())
        if not isinstance(plugins, list | tuple):
            raise InvalidUrl(f"{source}: plugins must be a list of names")
        return cls(urls, said.get("durability"), tuple(plugins), *_fallback(said, source))

    def with_fallback(self, url: str | None, when: str | None) -> "Configuration":
        """The same with a *url* to fall back to, and *when*, where they are given."""
        said = {"fallback": url or self.fallback, "fallback_on": when or self.fallback_on}
        fallback, fallback_on = _fallback(said, "open()")
        return attrs.evolve(self, fallback=fallback, fallback_on=fallback_on)


def _fallback(said: Mapping[str, Any], source: str) -> tuple[str | None, str]:
    """The URL of the fallback, and when it steps in; raises :class:`InvalidUrl`."""
    url, when = said.get("fallback"), said.get("fallback_on", "open")
    if not isinstance(url, str | None):
        raise InvalidUrl(f"{source}: fallback must be a URL, as text")
    if when not in ("open", "loss"):
        raise InvalidUrl(f'{source}: fallback_on is {when!r}; expected "open" or "loss"')
    return url, when


def find(target: Any) -> Configuration:
    """The configuration that *target* names: a URL, a mapping, a TOML file, or ``None``.

    Raises:
        InvalidUrl: it names nothing, or cannot be understood.
    """
    if target is None:
        return _from_surroundings()
    if isinstance(target, Mapping):
        return Configuration.understood(target, "configuration")
    text = os.fspath(target) if isinstance(target, os.PathLike) else str(target)
    if "://" not in text and text.endswith(".toml"):
        return _from_file(Path(text))
    return Configuration({"": text})


def _from_surroundings() -> Configuration:
    urls = {store: os.environ.get(f"QUANTKEEP_{store.upper()}_URL") for store in STORES}
    urls[""] = os.environ.get("QUANTKEEP_URL")
    given = {store: url for store, url in urls.items() if url}
    if given:
        return Configuration(given, fallback=os.environ.get("QUANTKEEP_FALLBACK_URL") or None)
    for path in (Path("quantkeep.toml"), Path("pyproject.toml")):
        if path.exists() and (path.name == "quantkeep.toml" or _section(path)):
            return _from_file(path)
    raise InvalidUrl(
        "no keep is named: pass a URL such as sqlite:///bot.db, set QUANTKEEP_URL, or write a "
        "quantkeep.toml"
    )


def _from_file(path: Path) -> Configuration:
    said = _section(path) if path.name == "pyproject.toml" else _read(path)
    return Configuration.understood(said, str(path))


def _section(path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _read(path).get("tool", {}).get("quantkeep", {})
    return found


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidUrl(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InvalidUrl(f"{path} cannot be read as TOML: {error}") from None
