"""Listings of a keep whose writer's classes are not here."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

import quantkeep
from quantkeep.tape import Slippage, Trade

MONDAY = datetime(2025, 1, 20, tzinfo=UTC)


def hours(result):
    return [int(row["timestamp"][11:13]) for row in result.rows]


@pytest.mark.requirement("CODEX-19", api="quantkeep trades")
def test_trades_are_the_newest_of_a_mode_in_order(cli, url):
    assert hours(cli("trades", url, "-f", "json")) == [0, 1, 2, 3, 4]
    assert hours(cli("trades", url, "-f", "json", "--mode", "paper", "--limit", 2)) == [1, 3]
    assert hours(cli("trades", url, "-f", "json", "--limit", 0)) == [0, 1, 2, 3, 4]


@pytest.mark.requirement("Z-30")
def test_paper_is_not_live_and_accounts_are_apart(cli, url):
    assert hours(cli("trades", url, "-f", "json", "-m", "live")) == [2, 4]
    assert hours(cli("trades", url, "-f", "json", "-m", "live", "-a", "second")) == [2]
    assert hours(cli("trades", url, "-f", "json", "-m", "test")) == []


def test_since_is_inclusive_and_until_exclusive(cli, url):
    span = ("--since", "2025-01-20T01:00", "--until", "2025-01-20T12:00+09:00")
    assert hours(cli("trades", url, "-f", "json", *span)) == [1, 2]
    assert hours(cli("trades", url, "-f", "json", "--since", "2025-01-20T04:00:00Z")) == [4]
    assert hours(cli("trades", url, "-f", "json", "--since", "7d")) == []
    assert len(cli("trades", url, "-f", "json", "--until", "2w", "--symbol", "ETH/USDT").rows) == 1


@pytest.mark.parametrize(
    "moment", ["yesterday", "7", "7y", "2025-13-01", "1e99d", "9" * 30 + "w", ""]
)
def test_a_moment_that_is_none_is_refused(cli, url, moment):
    result = cli("trades", url, "--since", moment)
    assert result.code == 2
    assert "expected 2025-01-17" in result.err


@pytest.mark.requirement("CODEX-5", "Z-3", api="quantkeep trades")
def test_fields_that_users_added_are_shown_without_their_class(cli, url):
    assert [row["desk"] for row in cli("trades", url, "-f", "json", "-m", "paper").rows] == [
        "fx",
        "=HYPERLINK(1)",
        "crypto",
    ]
    table = cli("trades", url).out
    assert "desk" in table
    assert "crypto" in table
    assert "policy_score_threshold" not in table


@pytest.mark.requirement("X-3")
def test_values_are_exact(cli, url):
    (row,) = cli("trades", url, "-f", "json", "-a", "second").rows
    assert row["raw_data"] == {"id": str(2**60), "rate": {"$float": "nan"}}
    assert row["timestamp"] == "2025-01-20T02:00:00.000000Z"
    assert row["revision"] == 1
    assert row["qty"] == 0.1


def test_csv_neutralises_formulas_of_users(cli, url):
    out = cli("trades", url, "-f", "csv", "-c", "symbol,desk").out
    assert out.splitlines()[2] == "ETH/USDT,'=HYPERLINK(1)"


def test_parquet_goes_to_a_file(cli, url, tmp_path):
    result = cli("trades", url, "--output", tmp_path / "trades.parquet")
    assert result == (0, "", "")
    assert pq.read_table(tmp_path / "trades.parquet").column("desk").to_pylist()[0] == "fx"


@pytest.mark.requirement("CODEX-20", api="quantkeep equity")
def test_equity_by_mode(cli, url):
    assert [
        row["total_equity"] for row in cli("equity", url, "-m", "paper", "-f", "json").rows
    ] == [10_000.0]
    assert cli("equity", url, "-m", "live", "-f", "json").rows == []


@pytest.mark.requirement("CODEX-21", api="quantkeep slippage --stats")
def test_slippage_in_figures(cli, url):
    fills = [("BTC/USDT", 100.1, 5.0), ("BTC/USDT", 99.7, None), ("ETH/USDT", 100.0, 1.0)]
    with quantkeep.open(url) as keep:
        keep.tape.append(
            Slippage(
                mode="live",
                timestamp=MONDAY + timedelta(hours=n),
                symbol=symbol,
                target_price=100.0,
                fill_price=price,
                estimated_slippage_bps=estimate,
            )
            for n, (symbol, price, estimate) in enumerate(fills)
        )
    btc, eth = cli("slippage", url, "--stats", "-f", "json").rows
    assert (btc["symbol"], btc["count"], eth["count"]) == ("BTC/USDT", 2, 1)
    figures = [btc[f"{name}_bps"] for name in ("avg", "avg_abs", "max", "min", "avg_est_error")]
    assert figures == pytest.approx([-10, 20, 10, -30, 5])
    assert [row["symbol"] for row in cli("slippage", url, "-f", "json").rows] == [
        f[0] for f in fills
    ]
    late = cli("slippage", url, "--stats", "-f", "json", "--since", "2025-01-20T01:00").rows
    assert [row["count"] for row in late] == [1, 1]


def test_trades_in_figures(cli, url):
    btc, eth = cli("trades", url, "--stats", "-f", "json", "--mode", "paper").rows
    assert (btc["count"], eth["count"], btc["realized_pnl"]) == (2, 1, None)
    assert "avg_slippage_bps" in cli("trades", url, "--stats").out


def test_sessions_by_name_and_status(cli, url):
    with quantkeep.open(url) as keep:
        keep.sessions.start("arb", mode="paper").stop()
        keep.sessions.start("other", mode="live", account="second").stop("finished")
    assert [row["name"] for row in cli("sessions", url, "-f", "json").rows] == ["arb", "other"]
    (row,) = cli("sessions", url, "-f", "json", "--status", "stopped").rows
    assert (row["name"], row["mode"], row["status"]) == ("arb", "paper", "stopped")
    assert [row["name"] for row in cli("sessions", url, "-f", "json", "-a", "second").rows] == [
        "other"
    ]
    assert "finished" in cli("sessions", url).out


def test_the_keep_may_be_named_by_the_environment_or_a_file(cli, url, tmp_path, monkeypatch):
    (tmp_path / "quantkeep.toml").write_text(f'default = "{url}"')
    assert len(cli("trades", "-f", "json").rows) == 5
    monkeypatch.setenv("QUANTKEEP_URL", "sqlite:///nowhere.db")
    assert cli("trades").code == 2
    assert len(cli("trades", tmp_path / "quantkeep.toml", "-f", "json").rows) == 5


def test_each_store_is_looked_for_where_it_is_kept(cli, url, tmp_path):
    other = f"sqlite:///{tmp_path / 'other.db'}"
    quantkeep.open(other).close()
    config = tmp_path / "two.toml"
    config.write_text(f'default = "{other}"\ntape = "{url}"')
    assert len(cli("trades", config, "-f", "json").rows) == 5
    config.write_text(f'default = "{url}"\ntape = "{other}"')
    assert cli("trades", config, "-f", "json").rows == []


def test_looking_changes_nothing(cli, tmp_path):
    url = f"sqlite:///{tmp_path / 'none.db'}"
    result = cli("trades", url)
    assert result.code == 2
    assert not (tmp_path / "none.db").exists()
    assert "none.db" in result.err


@pytest.mark.requirement("Z-6")
def test_a_damaged_record_is_an_error_and_never_shown(cli, url):
    with quantkeep.open(url) as keep:
        table = keep.tape.table(Trade)
        keep.backend.backdoor().flip(table.collection, ("default", "paper", 2), "symbol")
    result = cli("trades", url)
    assert (result.code, result.out) == (2, "")
    assert "trades ('default', 'paper', 2) does not match its digest" in result.err
    assert json.dumps(result.err).count("\\n") == 1
