"""Runs programs, each in a child forked from this process, which has imported what they need.

So a program begins in a tenth of the time. It is a process of its own, to be killed like any.
Run as ``python programs.py SOCKET`` by the fixture ``program``: each request is a line of JSON,
with files for standard input, output and error, or, without files, the child to wait for.
"""

import gc
import importlib
import json
import os
import socket
import sys
import traceback
from types import ModuleType
from typing import NoReturn

import quantkeep

IMPORTED = (
    "pandas",
    "quantkeep_backends.parquet._opening",
    "quantkeep_backends.parquet._s3",
    "quantkeep_backends.postgresql.opening",
    "quantkeep_backends.redis.opening",
    "quantkeep_backends.sqlite",
    "quantkeep_conformance.records",
)


def main(requests: socket.socket) -> None:
    """Do what is asked, until whoever asks is gone."""
    for name in IMPORTED:
        importlib.import_module(name)
    quantkeep.open("memory://").close()  # imports all stores
    gc.freeze()  # or a child's collections would write to each object, and so copy it
    while True:
        line, files, _, _ = socket.recv_fds(requests, 65_536, 3)
        if not line:
            return
        answer = forked(requests, files, json.loads(line)) if files else ended(json.loads(line))
        requests.send(json.dumps(answer).encode())


def ended(child: int) -> int:
    """The exit code of a child; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def forked(requests: socket.socket, files: list[int], told: list[str]) -> int:
    """A child that is the program."""
    child = os.fork()
    if not child:
        requests.close()
        become(files, *told)
    for file in files:
        os.close(file)
    return child


def become(files: list[int], program: str, *arguments: str) -> NoReturn:
    """Be the program, and end as one."""
    code = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        sys.argv = ["-c", *arguments]
        sys.modules["__main__"] = module = ModuleType("__main__")
        exec(compile(program, "<program>", "exec"), module.__dict__)  # a test's own text
        code = 0
    except BaseException:  # whatever it is, a fork must not go on as its parent would
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
