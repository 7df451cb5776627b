"""What Apache Spark reads in the files of a keep is what quantkeep answers, row for row."""

import json

import pytest
from keeps import (
    KNOWN,
    STORES,
    WIDEST,
    assert_same,
    compact,
    delete,
    entries,
    key_of,
    opened,
    write,
)

from quantkeep_conformance.records import Entry, WiderEntry
from quantkeep_conformance.samples import populated


@pytest.mark.parametrize("store", STORES)
def test_every_row_of_every_store(spark, table, filled, store):
    keep, path = filled
    for each in STORES[store]:
        found = table(spark, path, each.collection.name, key_of(each))
        assert assert_same(found, keep, each) >= 3


def test_what_is_there_was_not_simple(filled):
    """Orphans, commits on both sides of the manifest, several files, deletions, long appends."""
    _, path = filled
    current = json.loads((path / "current.json").read_text())
    files = current["tables"]["kit_entries"]
    assert len(files) >= 3
    assert len([*(path / "segments" / "kit_entries").iterdir()]) > len(files) + 2
    commits = [p.read_text().splitlines()[1] for p in sorted((path / "_log").iterdir())]
    said = [json.loads(commit) for commit in commits]
    behind = [each for each in said if each["number"] > current["commit"]]
    assert len(said) > len(behind) + 100
    assert sum("removed" in effect for each in behind for effect in each.get("effects", ())) > 30
    assert any("segments" in each for each in behind)


def test_put_and_deleted_in_the_log_again_and_again(spark, table, tmp_path):
    """What was last holds, also where one commit says several things of a key."""
    path, key = tmp_path / "keep", [*KNOWN["kit_coordinates"].collection.key]
    some = [populated(KNOWN["kit_coordinates"], n) for n in range(6)]
    with opened(path) as keep:
        write(keep, *some[:4])
        compact(keep, path)
        delete(keep, some[0])
        write(keep, some[0].replace(text="again"), some[4], some[5])
        delete(keep, some[1])
        delete(keep, some[4])
        write(keep, some[2].replace(text="new"))
        write(keep, some[2].replace(text="newer"))
        found = table(spark, path, "kit_coordinates", key)
        assert assert_same(found, keep, type(some[0])) == 4


def test_columns_that_were_added_later(spark, table, tmp_path):
    """Most files stay without them, one of which Spark would take its columns from."""
    path, key = tmp_path / "keep", key_of(Entry)
    with opened(path) as keep:
        keep.commit(keep.table(Entry).append(entries(0, 4000)))
        compact(keep, path)
    with opened(path, WiderEntry) as keep:
        stored = keep.table(WiderEntry)
        wider = [WiderEntry(number=n, venue=f"V{n % 2}", fee=WIDEST) for n in range(120)]
        keep.commit(stored.append(wider))
        compact(keep, path)
        keep.commit(stored.append(wider))
        keep.commit(stored.append(wider[:3]))
        found = table(spark, path, "kit_entries", key)
        assert assert_same(found, keep, WiderEntry) == 4243
        assert found.where("venue IS NULL").count() == 4000
    names = json.loads((path / "current.json").read_text())["tables"]["kit_entries"]
    columns = {tuple(sorted(spark.read.parquet(f"{path}/{name}").columns)) for name in names}
    assert len(columns) == 2, "no file is as it was before"
