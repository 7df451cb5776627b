"""``quantkeep backends``: what keeps can be kept in."""

import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points

import click
import pluggy

from quantkeep import hookspecs
from quantkeep.backend import Capability
from quantkeep.cli.listing import Listing, text
from quantkeep.cli.options import Output, examples, output_options
from quantkeep.cli.sentences import one_line
from quantkeep.columns import Row
from quantkeep.hookspecs import BackendInfo

COLUMNS = tuple(
    map(text, ("scheme", "summary", "driver", "durability", "capabilities", "example", "error"))
)
SHOWN = tuple(column.name for column in COLUMNS)  # the error only if there is one


@click.command(epilog=examples("backends", "backends --format json"))
@output_options
def backends(out: Output) -> None:
    """List the installed backends.

    Durability is what survives once a write has returned, as each backend ships: memory (nothing),
    process (kill -9 of the client), server (kill -9 of the database), disk (a power cut),
    replicated (the loss of a disk or node).

    A backend that cannot be imported is listed with its error.
    """
    entries = {entry.name: entry for entry in entry_points(group=hookspecs.BACKENDS)}
    rows = [_row(entries[name]) for name in sorted(entries)]
    out.show(Listing(title="Backends", columns=COLUMNS, rows=rows, shown=SHOWN))


def _row(entry: EntryPoint) -> Row:
    try:
        info = _info(entry)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever strangers' modules do
        why = one_line(f"{type(error).__name__}: {error}")
        return (entry.name, None, _driver(entry), None, None, None, why)
    driver = _driver(entry, info.transports)
    level = info.durability.name.lower()
    return (entry.name, info.summary, driver, level, _named(info.capabilities), info.example, None)


def _info(entry: EntryPoint) -> BackendInfo:
    """What the backend says of itself; imports it, and no other."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(entry.load(), name=entry.name)
    said: list[BackendInfo] = manager.hook.quantkeep_backend()
    if not said:
        raise LookupError("does not answer the quantkeep_backend hook")
    return said[0]


def _named(capabilities: Capability) -> str:
    return " ".join(each.name.lower() for each in capabilities if each.name) or "none"


def _driver(entry: EntryPoint, transports: Iterable[str] = ()) -> str:
    """Whether it is there, for each of *transports* too, or the command that installs it."""
    if missing := _missing(entry, entry.name):
        return f"missing: {', '.join(missing)}; {_install(entry, entry.name)}"
    further = [each for each in transports if _missing(entry, f"{entry.name}-{each}")]
    return "present" + "".join(
        f"; for {entry.name}+{each}://: {_install(entry, f'{entry.name}-{each}')}"
        for each in further
    )


def _missing(entry: EntryPoint, extra: str) -> list[str]:
    """What an extra asks for and is not installed.

    A backend's extra has its name; that of a transport, such as ``parquet-s3``, both names.
    """
    required = (entry.dist.requires or []) if entry.dist else []
    marker = re.compile(rf"extra == ['\"]{re.escape(extra)}['\"]")
    asked = [line for line in required if marker.search(line)]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in asked]
    return [name for name in names if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


def _install(entry: EntryPoint, extra: str) -> str:
    return f"pip install '{entry.dist.name}[{extra}]'" if entry.dist else ""
