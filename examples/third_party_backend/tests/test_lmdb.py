"""What the kit cannot know: that it is LMDB. The rest is one line, see ``README.md``."""

import lmdb
import pytest

import quantkeep
from quantkeep.errors import Corrupt, InvalidUrl, NotFound, StoreFull


@pytest.fixture
def url(tmp_path):
    return f"lmdb:///{tmp_path}/bot.lmdb"


def test_a_keep_is_one_file_of_lmdb(url, tmp_path):
    with quantkeep.open(url):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"bot.lmdb", "bot.lmdb-lock"}
    with lmdb.open(str(tmp_path / "bot.lmdb"), subdir=False) as env, env.begin() as txn:
        assert b'"trades"' in txn.get(b"k.description")


def test_nothing_is_made_that_was_not_asked_for(url, tmp_path):
    with pytest.raises(NotFound):
        quantkeep.open(url, create=False)
    with pytest.raises(InvalidUrl, match="map_size"):
        quantkeep.open(url + "?mapsize=5")
    assert not [*tmp_path.iterdir()]


def test_a_full_map_is_a_full_store(url):
    with quantkeep.open(url + "?map_size=4000000") as keep:
        with pytest.raises(StoreFull, match="map_size"):
            keep.backend.put_blob("00" * 32, bytes(4 * 2**20))
        assert keep.sizes()["trades"] == 0


def test_a_file_that_is_no_lmdb(url, tmp_path):
    (tmp_path / "bot.lmdb").write_bytes(b"no database" * 1000)
    with pytest.raises(Corrupt, match=r"bot\.lmdb"):
        quantkeep.open(url)


def test_two_handles_of_a_process_share_what_lmdb_opens_once(url):
    with quantkeep.open(url) as one, quantkeep.open(url) as two:
        one.backend.put_blob("00" * 32, b"x")
        assert two.backend.open_blob("00" * 32) == b"x"
        one.close()
        assert two.backend.open_blob("00" * 32) == b"x"
