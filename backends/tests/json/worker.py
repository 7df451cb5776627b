"""Does pieces of work on JSON keeps, each in a forked child that may die of it."""

import os
import sys
from pathlib import Path

import quantkeep
from quantkeep import failpoints, schema
from quantkeep.batch import Append, Batch
from quantkeep.collection import Collection
from quantkeep.hookspecs import Opening
from quantkeep_backends.json import JsonBackend


def collection(handle: JsonBackend) -> Collection:
    described = handle.description()
    assert described is not None
    return next(c for c in schema.understand(described) if c.name == "entries")


def append(handle: JsonBackend, first: str, last: str, op_id: str | None = None) -> None:
    """Commit each number on its own; under an *op_id*, all of them at once."""
    entries = collection(handle)
    sealed = [
        entries.sealer.seal_row(("paper", f"{n}", n, f"note {n} é😀"))
        for n in range(int(first), int(last))
    ]
    for rows in [sealed] if op_id else [[row] for row in sealed]:
        handle.commit(Batch((Append(entries, rows),), op_id))


def compact(handle: JsonBackend, times: str = "1") -> None:
    for _ in range(int(times)):
        handle.compact()


def work(path: str, what: str, armed: str, trace: str) -> str:
    handle = JsonBackend(Path(path), Opening(), 10.0)
    failpoints.arm(armed, trace=trace or None)
    name, *arguments = what.split()
    try:
        {"append": append, "compact": compact}[name](handle, *arguments)
    except quantkeep.QuantkeepError as error:
        return type(error).__name__
    return "done"


def main() -> None:
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, work(*line.rstrip("\n").split("\t")).encode())
            os._exit(0)
        os.close(writing)
        said = os.read(reading, 100).decode()
        os.close(reading)
        os.waitpid(child, 0)
        sys.stdout.write((said or "killed") + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
