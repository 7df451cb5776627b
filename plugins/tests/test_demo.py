"""The demo, as a user runs it, and what it is made of."""

import json
import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from random import Random
from xml.etree import ElementTree as ET

import attrs
import pytest

import quantkeep
from quantkeep.cli import main
from quantkeep_plugins.demo import command, kills
from quantkeep_plugins.demo.book import Book
from quantkeep_plugins.demo.kills import Job, Kill, Report, TraderFailed, lives, planned
from quantkeep_plugins.demo.plot import svg_plot, terminal_plot
from quantkeep_plugins.demo.prices import trading_days
from quantkeep_plugins.demo.proof import Run, compare, uninterrupted
from quantkeep_plugins.demo.simulator import Simulator
from quantkeep_plugins.demo.trader import TYPES

DAYS = 166


def demo(*arguments, cwd):
    ran = subprocess.run(
        [sys.executable, "-m", "quantkeep", "demo", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if name != "QUANTKEEP_URL"},
    )
    return ran.returncode, ran.stdout, ran.stderr


def killed(times, folder, *arguments):
    """The demo with all its kills: where the machine paused, it is over before the last of them."""
    for attempt in range(10):
        place = folder / f"{attempt}"
        place.mkdir()
        code, out, err = demo(*(each.replace("PLACE", str(place)) for each in arguments), cwd=place)
        if (out + err).count("SIGKILL") == times:
            break
    return place, code, out, err


# -- the whole ------------------------------------------------------------------------------------


@pytest.mark.requirement("Z-8", "Z-31", "Z-46", "D70-38", api="quantkeep demo")
def test_it_is_killed_resumed_and_loses_nothing(tmp_path):
    options = ("--keep-files", "PLACE", "--kills", "5", "--seed", "11")
    place, code, out, err = killed(5, tmp_path, *options)
    assert (code, err) == (0, "")
    assert out.count("SIGKILL") == 5
    assert out.count("SIGKILL between tape and session") == 2
    assert len(set(re.findall(r"^process (\d+)", out, re.MULTILINE))) == 6
    assert "Nothing was lost, nothing was doubled." in out
    for shown in ("Positions", "The tape's tail", "Slippage", "Equity", "bokeh_sampledata"):
        assert shown in out
    assert ET.parse(place / "equity.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize("scheme", ["sqlite", "json"])
def test_any_store_that_outlives_a_process_will_do(scheme, tmp_path):
    options = ("--store", f"{scheme}:///PLACE/store", "--keep-files", "PLACE", "--format", "json")
    place, code, out, err = killed(3, tmp_path, *options)
    assert code == 0
    assert {row["verdict"] for row in json.loads(out)} == {"equal"}
    assert err.count("SIGKILL") == 3
    (account,) = set(re.findall(r"demo-[0-9a-f]{6}", err))
    with quantkeep.open(f"{scheme}:///{place}/store", types=TYPES) as keep:
        assert len(keep.tape.equity(account=account)) == DAYS
        assert keep.sessions.get(account).status == "stopped"
        assert keep.sessions.state(account)["book"].next_day == DAYS


def test_a_store_in_use_is_not_disturbed(tmp_path):
    store = f"sqlite:///{tmp_path / 'bot.db'}"
    with quantkeep.open(store) as keep:
        session = keep.sessions.start("mine", mode="paper")
        session["secret"] = 42
        session.save()
        for _ in range(2):
            code, *_ = demo("--store", store, "--keep-files", tmp_path, "--kills", 1, cwd=tmp_path)
            assert code == 0
        session["secret"] = 43
        session.save()
        assert keep.tape.trades(account="default") == []
        assert len(keep.sessions.list()) == 3


def test_a_store_that_forgets_is_refused(tmp_path):
    code, out, err = demo("--store", "memory://", "--keep-files", tmp_path, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("quantkeep: memory:// forgets everything when its process dies")
    assert err.count("\n") == 1


def test_the_same_seed_is_the_same_run(tmp_path):
    outs = []
    for name in ("a", "b"):
        _, out, _ = demo("--keep-files", tmp_path / name, "--seed", 3, "--kills", 2, cwd=tmp_path)
        trades = out[out.index("The tape's tail") : out.index("Equity")]
        outs.append(trades)
    assert outs[0] == outs[1]


def test_without_a_folder_the_files_are_left_in_a_temporary_one(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code, out, _ = demo("--kills", 0, cwd=tmp_path)
    assert code == 0
    (folder,) = tmp_path.glob("quantkeep-demo-*")
    assert {file.name for file in folder.iterdir()} >= {"demo.db", "equity.svg"}
    assert f"sqlite:///{folder}/demo.db" in out


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda run: run.trades.pop(), "39 were expected and 38 are stored"),
        (lambda run: run.equity.append(run.equity[-1]), "166 were expected and 167 are stored"),
    ],
)
def test_a_failed_proof_is_exit_code_1(harm, said, tmp_path, monkeypatch, capsys):
    stored = command._stored

    def damaged(keep, account):
        run = stored(keep, account)
        harm(run)
        return run

    monkeypatch.setattr(command, "_stored", damaged)
    assert main(["demo", "--keep-files", str(tmp_path), "--kills", "0", "--seed", "7"]) == 1
    out = capsys.readouterr().out
    assert "THE PROOF FAILED." in out
    assert said in out


# -- its parts ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected():
    return uninterrupted("demo-x", 7)


def stored(run):
    """*run* as it comes back from a store that numbers entries."""

    def numbered(records):
        envelopes = (quantkeep.records.Envelope(n + 1, *[None] * 4) for n in range(len(records)))
        return [attrs.evolve(r, envelope=e) for r, e in zip(records, envelopes, strict=True)]

    return Run(numbered(run.trades), numbered(run.events), numbered(run.equity), run.book)


def test_the_prices_are_real_and_complete():
    days = trading_days()
    assert len(days) == DAYS
    assert [day.number for day in days] == [*range(DAYS)]
    assert {tuple(sorted(day.bars)) for day in days} == {("AAPL", "GOOG", "IBM", "MSFT")}
    assert days[-1].bars["AAPL"].close == Decimal("430.47")


def test_an_equal_run_is_equal(expected):
    assert all(check.holds for check in compare(expected, stored(expected)))


@pytest.mark.parametrize("log", ["trades", "events", "equity"])
@pytest.mark.parametrize("harm", ["lost", "doubled", "changed", "swapped", "hole"])
def test_the_proof_notices_everything(expected, log, harm):
    found = stored(expected)
    entries = getattr(found, log)
    if harm == "lost":
        del entries[5]
    elif harm == "doubled":
        entries.insert(5, entries[5])
    elif harm == "changed":
        entries[5] = attrs.evolve(entries[5], uid="another")
    elif harm == "swapped":
        entries[5], entries[6] = entries[6], entries[5]
    else:
        beyond = entries[-1].envelope._replace(revision=1_000)
        entries[-1] = attrs.evolve(entries[-1], envelope=beyond)
    assert sum(not check.holds for check in compare(expected, found)) == 1


def test_the_proof_notices_money_that_is_missing(expected):
    found = stored(expected)
    found.book = attrs.evolve(expected.book, cash=expected.book.cash - Decimal("0.0001"))
    (failed,) = [check for check in compare(expected, found) if not check.holds]
    assert "cash should be" in failed.difference


def test_a_fill_that_the_tape_has_is_not_made_again():
    book, other = Book(), Book()
    plain, resumed = Simulator("a", 1), Simulator("a", 2, {"2012-07-31/GOOG/OPEN": Decimal(628)})
    for day in trading_days()[:21]:
        first, second = plain.trade(book, day), resumed.trade(other, day)
    assert first.trades[0].fill_price != 628
    assert second.trades[0].fill_price == 628
    assert other.positions["GOOG"].entry_price == 628


def test_a_different_seed_is_a_different_run(expected):
    assert uninterrupted("demo-x", 8).trades != expected.trades


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 50])
def test_half_of_the_kills_hit_the_worst_place_on_days_with_trades(count, expected):
    plan = planned(count, DAYS, expected.busy, Random(count))
    worst = [kill.day for kill in plan if kill.event == "taped"]
    assert len(plan) == count
    assert len(worst) == min(count // 2, len(expected.busy))
    assert set(worst) <= set(expected.busy)
    assert plan == sorted(plan, key=lambda kill: kill.day)


def test_each_life_goes_on_where_the_last_one_was_killed(tmp_path):
    for attempt in range(10):  # until no pause of the machine let the second come to its end
        job = Job(f"sqlite:///{tmp_path / f'{attempt}.db'}", "demo-x", 7)
        lived = [*lives(job, [Kill("taped", 30), Kill("saved", 40)])]
        if len(lived) == 3:
            break
    first, second, third = lived
    assert first.reports[-1] == Report("taped", 30, 0)
    assert second.reports[0].day == 30
    assert second.reports[0].known >= 1
    assert second.reports[1] == Report("taped", 30, second.reports[0].known)
    assert second.kill.day >= 40
    assert third.kill is None
    assert third.reports[-1] == Report("saved", DAYS - 1)
    assert len({first.pid, second.pid, third.pid}) == 3


def test_a_trader_that_fails_by_itself_is_no_kill(tmp_path):
    with pytest.raises(TraderFailed, match="UnknownBackend"):
        [*lives(Job("nosuch://x", "demo-x", 7), [])]


def test_a_kill_that_comes_too_late_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: process.wait())
    job = Job(f"sqlite:///{tmp_path / 'x.db'}", "demo-x", 7)
    (only,) = lives(job, [Kill("saved", DAYS - 1)])
    assert only.kill is None


def test_a_trader_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "PATIENCE", 2.0)
    job = Job(f"sqlite:///{tmp_path / 'x.db'}", "demo-x", 7, hold=3)
    with pytest.raises(TraderFailed, match=f"code -{signal.SIGKILL.value}"):
        kills._live(job, None)


def test_reports_and_jobs_survive_the_pipe():
    report, job = Report("begun", 3, 2), Job("redis://u:p@h", "a b", 7, 9)
    assert Report.understood(f"{report}\n") == report
    assert Job.loads(job.dumps()) == job


def test_a_plot_without_gaps():
    lines = terminal_plot([0, 10, 0, 10], [1], width=8, height=4)
    assert len(lines) == 5
    assert lines[0].startswith("10 ┤")
    assert lines[-1].count("▲") == 1
    filled = [line.partition("┤")[2] for line in lines[:-1]]
    assert all(any(cell != "⠀" for cell in line) for line in filled)


@pytest.mark.parametrize("values", [[1.0], [5.0, 5.0, 5.0], [1e9, -1e9]])
def test_flat_and_short_curves_are_drawn_too(values):
    assert terminal_plot(values, [])
    ET.fromstring(svg_plot(values, [0], "t", ("a", "b")))
