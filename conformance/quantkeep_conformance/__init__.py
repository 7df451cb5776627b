"""The conformance kit: what a backend must keep, as tests that its author runs.

With no code, on any backend that is installed::

    quantkeep conformance sqlite:///kit.db
    pytest -p quantkeep_conformance.plugin --pyargs quantkeep_conformance --store sqlite:///kit.db

Or in tests of one's own, where a backend needs more than a URL::

    from quantkeep_conformance.suites import Listing


    class TestListing(Listing):
        @pytest.fixture
        def store_url(self) -> str: ...  # of a fresh, empty place

``docs/conformance.md`` lists the clauses.
"""
