"""Whole records: every one that is registered, the kit's and the built-in ones (X-1 ... X-7)."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import pytest
from hypothesis import assume, given

from quantkeep import Keep, Receipt, Record
from quantkeep.errors import AlreadyExists
from quantkeep.opening import store_classes
from quantkeep_conformance.clauses import Suite, broad
from quantkeep_conformance.effort import Effort
from quantkeep_conformance.exactness import assert_same, differences
from quantkeep_conformance.records import KIT_RECORDS
from quantkeep_conformance.samples import minimal, populated, with_targets
from quantkeep_conformance.strategies import of_record
from quantkeep_conformance.suites.helpers import key_of

STORES: Final = {name: cls.records for name, cls in store_classes().items()} | {"kit": KIT_RECORDS}
KNOWN: Final = {r.collection.name: r for records in STORES.values() for r in records}
of_every_store = pytest.mark.parametrize("records", STORES.values(), ids=STORES.keys())

Records = tuple[type[Record], ...]


def stored_and_read(keep: Keep, sample: Record, number: int = 1) -> tuple[Receipt, Record | None]:
    """*sample*, written after what it refers to, and read by its key."""
    records = with_targets(sample, KNOWN, number)
    receipt = keep.commit(*(_write(keep, record) for record in records))
    table = keep.table(type(sample))
    if not sample.collection.log:
        return receipt, table.get(*key_of(sample))
    stream = [getattr(sample, name) for name in sample.collection.stream]
    return receipt, table.get(*stream, receipt.revision)


def _write(keep: Keep, record: Record) -> Any:
    table = keep.table(type(record))
    return table.append([record]) if record.collection.log else table.put(record)


def samples(
    keep: Keep, records: Records, make: Callable[[type[Record], int], Record]
) -> Iterator[tuple[Record, Receipt, Record | None]]:
    """A sample of each of *records*, its receipt, and what was read."""
    for number, record in enumerate(records, 1):
        sample = make(record, number)
        yield sample, *stored_and_read(keep, sample, number)


class Roundtrip(Suite):
    """Derived from the registry: a record that is added there is checked here."""

    family = "roundtrip"

    @pytest.mark.requirement("Z-5")
    @of_every_store
    def test_populated(self, whole_keep: Keep, records: Records) -> None:
        """A record in which nothing is null comes back the same, by its key and in a scan."""
        for sample, _, found in samples(whole_keep, records, populated):
            assert_same(found, sample)
            scanned = whole_keep.table(type(sample)).scan()
            assert any(not differences(other, sample) for other in scanned)

    @of_every_store
    def test_minimal(self, whole_keep: Keep, records: Records) -> None:
        """A record that is null wherever it may be comes back the same."""
        for sample, _, found in samples(whole_keep, records, minimal):
            assert_same(found, sample)

    @pytest.mark.requirement("Z-1")
    @of_every_store
    def test_envelope(self, whole_keep: Keep, records: Records) -> None:
        """What is read says its revision, its stamps, its schema version and its digest (Z-1)."""
        for sample, receipt, found in samples(whole_keep, records, populated):
            assert found is not None
            assert found.envelope is not None
            assert found.revision == receipt.revision
            assert found.envelope.created_at == found.envelope.updated_at
            assert found.envelope.schema_version == sample.collection.schema_version
            assert found.envelope.digest == whole_keep.table(type(sample)).seal(sample).digest

    @broad
    @of_every_store
    def test_arbitrary(self, whole_keep: Keep, records: Records, effort: Effort) -> None:
        """Whatever the columns of a record take comes back the same."""
        numbers = count(1)

        def check(sample: Record) -> None:
            try:
                _, found = stored_and_read(whole_keep, sample, next(numbers))
            except AlreadyExists:  # drawn before, with other content
                assume(condition=False)
            assert_same(found, sample)

        for record in records:
            effort.examples(8)(given(of_record(record))(check))()
