"""Places of their own for clauses: nothing at the URL under test is ever touched."""

import importlib
import shutil
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from quantkeep import Capability, Unsupported
from quantkeep.errors import InvalidUrl
from quantkeep.opening import backend_hooks
from quantkeep.opening import open as open_keep
from quantkeep.url import Url


class Scratch:
    """Makes fresh, empty places beside one URL, and takes them away again.

    A backend says how through ``quantkeep_scratch``. For those on files it is a new folder beside
    the path; for those that keep nothing, the URL itself.

    Raises:
        Unsupported: the backend is none of these.
    """

    def __init__(self, url: str, plugins: Sequence[str] = ()) -> None:
        self.url = Url.parse(url)
        self.plugins = tuple(plugins)
        self._numbers = count(1)
        self._hooks = backend_hooks(self.url, loaded(self.plugins))
        self._folder: Path | None = None
        self._given: list[str] = []
        self._keeps_nothing = False

    def place(self) -> str:
        """The URL of a place that nobody has used."""
        name = f"kit_{next(self._numbers)}"
        given: str | None = self._hooks.hook.quantkeep_scratch(url=self.url, name=name)
        if given is not None:
            self._given.append(given)
            return given
        path = path_of(self.url)
        if path is not None:
            folder = self._beside(path) / name
            folder.mkdir()
            return with_path(self.url, folder / path.name)
        return self._itself()

    def _beside(self, path: Path) -> Path:
        if self._folder is None:
            if not path.parent.is_dir():
                raise InvalidUrl(f"{self.url}: there is no folder {path.parent} to work in")
            made = tempfile.mkdtemp(prefix=f"{path.name}.conformance-", dir=path.parent)
            self._folder = Path(made).absolute()
        return self._folder

    def _itself(self) -> str:
        if not self._keeps_nothing:
            with open_keep(self.url.full, plugins=loaded(self.plugins)) as keep:
                self._keeps_nothing = Capability.PERSISTENT not in keep.backend.capabilities
        if self._keeps_nothing:
            return self.url.full
        raise Unsupported(
            f"{self.url.scheme} does not say where a test may make a keep of its own: implement "
            "the hook quantkeep_scratch"
        )

    def discard(self, url: str) -> None:
        """Remove a place with all that is in it."""
        if url in self._given:
            self._given.remove(url)
            self._hooks.hook.quantkeep_scratch_discard(url=Url.parse(url))
        path = path_of(Url.parse(url))
        if path is not None and self._folder is not None and self._folder in path.parents:
            shutil.rmtree(path.parent, ignore_errors=True)

    def close(self) -> None:
        """Remove every place that is left."""
        for url in [*self._given]:
            self.discard(url)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def path_of(url: Url) -> Path | None:
    """The file or folder that *url* names, if it names one."""
    if url.transport:
        return None
    try:
        return url.path
    except InvalidUrl:
        return None


def with_path(url: Url, path: Path) -> str:
    """*url* with another path, its options kept."""
    query = f"?{url.parts.query}" if url.parts.query else ""
    return f"{url.parts.scheme}:///{quote(str(path))}{query}"


def loaded(plugins: Sequence[str]) -> list[Any]:
    """Plugins by name, as :func:`quantkeep.open` takes them.

    ``module:attribute`` is imported; any other name is that of an installed plugin.
    """
    return [_loaded(name) for name in plugins]


def _loaded(name: str) -> Any:
    module, colon, attribute = name.partition(":")
    if not colon:
        return name
    try:
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found
    except (ImportError, AttributeError) as error:
        raise InvalidUrl(f"the plugin {name!r} cannot be loaded: {error}") from error
