"""``lmdb:///bot.lmdb``: a keep in one LMDB file. What quantkeep calls to find and open it."""

from quantkeep import hookimpl
from quantkeep.contract import require_level
from quantkeep.errors import NotFound
from quantkeep.hookspecs import BackendInfo, Opening
from quantkeep.url import Url
from quantkeep_lmdb.backend import LmdbBackend

OPTIONS = {"map_size": "bytes that the file may grow to (default 64 GiB)"}


@hookimpl
def quantkeep_open(url: Url, opening: Opening) -> LmdbBackend | None:
    if url.scheme != LmdbBackend.name:
        return None
    url.allow(*OPTIONS)
    require_level(LmdbBackend.durability, opening.durability, url)
    path, map_size = url.path.absolute(), url.option("map_size", int, 64 * 2**30)
    if not path.exists() and (opening.read_only or not opening.create):
        raise NotFound(f"there is no keep at {path}: open it with create=True to make one")
    return LmdbBackend(path, map_size)


@hookimpl
def quantkeep_backend() -> BackendInfo:
    return BackendInfo(
        scheme=LmdbBackend.name,
        summary="one LMDB file: an example of a backend from elsewhere",
        example="lmdb:///bot.lmdb",
        capabilities=LmdbBackend.capabilities,
        durability=LmdbBackend.durability,
        options=OPTIONS,
    )
