"""What a clause that fails says to who has to mend the backend."""

import pytest
from test_finds_defects import checked, failed

from quantkeep_conformance.suites.embedding import _in_a_fork


@pytest.mark.parametrize(
    ("store", "clause", "said"),
    [
        (
            "claims_failpoints_it_does_not_have",
            "honesty.failpoints_are_listed",
            "health().facts['failpoints'] is missing",
        ),
        (
            "claims_failpoints_it_does_not_have",
            "honesty.description_agrees",
            "BackendInfo.capabilities says snapshot_reads; once it is open, it is snapshot_",
        ),
        (
            "lists_another_level",
            "honesty.description_agrees",
            "BackendInfo.durability says durability disk; once it is open, it is durability memory",
        ),
        (
            "takes_its_snapshot_at_the_first_row",
            "honesty.snapshot_reads",
            "as of its first row, not of its call",
        ),
    ],
)
def test_what_is_wrong_is_named(store, clause, said):
    assert said in failed(checked(f"naive.careless:{store}", clause))[clause]


def test_an_error_of_a_forked_child_is_told_in_words():
    def fail() -> str:
        raise ValueError("the pool is gone")

    with pytest.raises(AssertionError, match="child failed with ValueError: the pool is gone"):
        _in_a_fork(fail)
