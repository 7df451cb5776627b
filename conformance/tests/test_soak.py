"""A long campaign on the backends that keep what is committed; docs/conformance.md has results."""

import pytest

from quantkeep_conformance.running import run

ROUNDS = 10
LONG = (
    "durability or faults or one_winner or atomicity or corruption or model or roundtrip or files "
    "or server or sessions or tape or predictions or backtests or knowledge"
)


@pytest.mark.soak
@pytest.mark.parametrize("scheme", ["sqlite", "json", "parquet"])
def test_rounds(scheme, tmp_path):
    report = run(f"{scheme}:///{tmp_path}/soak", rounds=ROUNDS, select=LONG)
    print(report.to_json())
    assert report.conforms, report.to_json()


@pytest.mark.soak
@pytest.mark.parametrize("server", ["postgresql", "redis", "valkey"])
def test_rounds_on_a_server(server):
    report = run(server=server, rounds=ROUNDS, select=LONG)
    print(report.to_json())
    assert report.conforms, report.to_json()
