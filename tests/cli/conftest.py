"""Command lines, each in a fork of a process that has imported what all of them import, and nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Typed = Callable[..., tuple[set[str], str]]
_SERVE = """
import json, os, sys, tempfile, traceback
import mmcli.__main__ as own, mmcli.cli

HEAVY = {"torch", "pandas", "numpy", "pyarrow", "PIL", "tokenizers"}

def run(arguments, folder, environment, answer):
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["mmcli", *arguments]
    error, nowhere = tempfile.TemporaryFile(), os.open(os.devnull, os.O_RDWR)
    for stream, file in enumerate((nowhere, nowhere, error.fileno())):
        os.dup2(file, stream)
    done = True
    try:
        own.main()
    except SystemExit:
        pass
    except BaseException:
        done = False
        traceback.print_exc()
    sys.stderr.flush()
    error.seek(0)
    answer.write(json.dumps([done, sorted(HEAVY & set(sys.modules)), error.read().decode('utf-8', 'replace')]).encode())
    answer.flush()

for line in sys.stdin:
    with tempfile.TemporaryFile() as answer:
        process = os.fork()
        if not process:
            try:
                run(*json.loads(line), answer)
            finally:
                os._exit(0)
        os.waitpid(process, 0)
        answer.seek(0)
        print(answer.read().decode() or "[false, [], \\"it ended without a word\\"]", flush=True)
"""


@pytest.fixture(scope="session")
def typed() -> Iterator[Typed]:
    """What is typed behind `mmcli` -> the heavy modules that have been imported when it ends, and what it said on stderr."""
    if not hasattr(os, "fork"):
        pytest.skip("the children are forks")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _SERVE], stdin=pipe, stdout=pipe, text=True, encoding="utf-8") as server:
        assert server.stdin is not None and server.stdout is not None
        requests, answers = server.stdin, server.stdout

        def run(*arguments: str) -> tuple[set[str], str]:
            requests.write(json.dumps([arguments, str(Path.cwd()), dict(os.environ)]) + "\n")
            requests.flush()
            done, heavy, said = json.loads(answers.readline())
            assert done, said
            return set(heavy), said

        yield run
