"""The ``demo`` command: run, kill, resume, prove, show."""

import tempfile
from functools import partial
from pathlib import Path
from random import Random, SystemRandom

import click

import quantkeep
from quantkeep import Capability, Keep, Unsupported
from quantkeep.cli.formats import table
from quantkeep.cli.options import Output, examples, output_options
from quantkeep.url import Url
from quantkeep_plugins.demo import exhibits, report
from quantkeep_plugins.demo.kills import Job, Kill, Life, lives, planned
from quantkeep_plugins.demo.prices import Day, trading_days
from quantkeep_plugins.demo.proof import Run, compare, uninterrupted
from quantkeep_plugins.demo.report import Say
from quantkeep_plugins.demo.trader import TYPES


@click.command(
    epilog=examples(
        "demo",
        "demo --keep-files here --kills 10",
        "demo --store postgresql://bot@localhost/trading",
        "demo --format json",
    )
)
@click.option("--store", metavar="URL", help="Where to keep it. Default: a new SQLite file.")
@click.option(
    "--keep-files",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the SQLite file and the drawing go. Default: a new folder for temporary files.",
)
@click.option("--kills", type=click.IntRange(0, 50), default=3, show_default=True, metavar="N")
@click.option("--seed", type=int, help="Repeat the run, luck and kills, that had this seed.")
@output_options
@click.pass_context
def demo(
    ctx: click.Context,
    *,
    store: str | None,
    keep_files: Path | None,
    kills: int,
    seed: int | None,
    out: Output,
) -> None:
    """Kill a trading run, resume it, and prove that nothing was lost.

    A paper account trades moving averages on real daily prices. Its process saves its session and
    writes the tape every day, and is killed by SIGKILL at random moments; each time a new process
    resumes. Then all that is stored is held against an independent run that was never interrupted.

    Exit code 1 if anything was lost or doubled.
    """
    say: Say = partial(click.echo, err=out.format not in (None, "table"))
    folder = _folder(keep_files)
    job = _job(store or f"sqlite:///{folder / 'demo.db'}", seed)
    _refuse_forgetful(job.url)
    days = trading_days()
    report.introduce(job, days, say)
    expected = uninterrupted(job.account, job.seed)
    luck = Random(f"kills/{job.seed}")  # noqa: S311  # not for secrets
    lived = _lived(job, planned(kills, len(days), expected.busy, luck), days, say)
    killed = [life.reports[-1].day for life in lived if life.kill]
    with quantkeep.open(job.url, types=TYPES) as keep:
        found = _stored(keep, job.account)
        shown = (
            exhibits.positions(found.book, days[-1]),
            exhibits.tail(found.trades),
            exhibits.slippage(keep, job.account),
        )
        for listing in shown:
            say("\n" + table.drawn(listing))
    say("\n" + exhibits.curve(found.equity, killed) + "\n")
    title = f"{job.account}, killed {len(killed)} times"
    drawing = exhibits.drawing(found.equity, killed, title)
    (folder / "equity.svg").write_text(drawing, encoding="utf-8")
    checks = compare(expected, found)
    out.show(exhibits.proof(checks))
    report.conclude(checks, job, folder, say)
    if not all(check.holds for check in checks):
        ctx.exit(1)


def _folder(chosen: Path | None) -> Path:
    if chosen is None:
        return Path(tempfile.mkdtemp(prefix="quantkeep-demo-"))
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen.resolve()


def _job(url: str, seed: int | None) -> Job:
    """An account of its own: a store that is in use already is not disturbed."""
    account = f"demo-{SystemRandom().randrange(16**6):06x}"
    return Job(url, account, SystemRandom().randrange(10_000) if seed is None else seed)


def _refuse_forgetful(url: str) -> None:
    with quantkeep.open(url) as keep:
        if all(Capability.PERSISTENT in backend.capabilities for backend in keep.backends):
            return
    raise Unsupported(
        f"{Url.parse(url)} forgets everything when its process dies, and this demo kills its "
        "processes: nothing would be left to resume. Name a store that outlives them, such as "
        "--store sqlite:///demo.db"
    )


def _lived(job: Job, kills: list[Kill], days: list[Day], say: Say) -> list[Life]:
    lived = []
    for life in lives(job, kills):
        report.tell(life, days, say)
        lived.append(life)
    return lived


def _stored(keep: Keep, account: str) -> Run:
    """What the store has of the run."""
    return Run(
        keep.tape.trades(mode="paper", account=account),
        keep.tape.position_events(mode="paper", account=account),
        keep.tape.equity(mode="paper", account=account),
        keep.sessions.state(account)["book"],
    )
