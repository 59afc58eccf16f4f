"""A disk that is full, or fails, at the Nth write: the command says so, and the same command mends it.

    python -m tests.faults.disk [--count N] [--stage NAME]

Every write of Python's files and every change of names counts as one; what libraries write by themselves (Parquet) is not
touched.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.forked import Stage, child, say, stages, stages_of, warm_up
from tests.faults.kills import CHANGES
from tests.faults.tiny import STAGES

ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}


class Failing:
    """A file whose writes may fail."""

    def __init__(self, file: Any, spend: Callable[[], None]) -> None:
        self._file, self._spend = file, spend

    def write(self, data: Any) -> Any:
        self._spend()
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)


def failing(root: Path, number: int, code: int, counter: Path | None = None) -> Callable[[], None]:
    """Lets the write of that number below a folder fail, and all after it; or, with `number` below zero, counts them."""

    def prepare() -> None:
        left = [number]

        def spend() -> None:
            if counter is not None:
                os.write(handle, b".")
            left[0] -= 1
            if number >= 0 and left[0] < 0:
                raise OSError(code, os.strerror(code), str(root))

        handle = os.open(counter, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if counter is not None else -1
        plain = io.open

        def opened(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            made = plain(file, mode, *arguments, **named)
            if isinstance(file, int) or not set("wax+") & set(mode) or not str(file).startswith(str(root)):
                return made
            return Failing(made, spend)

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def inner(*arguments: Any, **named: Any) -> Any:
                spend()
                return call(*arguments, **named)

            return inner

        io.open = opened  # type: ignore[assignment]
        import builtins

        builtins.open = opened
        for name in CHANGES:
            if name != "unlink":
                setattr(os, name, counted(getattr(os, name)))

    return prepare


def run(folder: Path, count: int, names: list[str], seed: int = 0, chain: Path | None = None) -> tuple[int, list[str]]:
    """Lets the disk fail at so many writes of each stage (all of them, where there are fewer); gives how often, and what is
    wrong."""
    draw, done, wrong = random.Random(seed), 0, list[str]()
    warm_up(names)
    for stage in stages_of(chain, folder, names) if chain else stages(folder, names):
        root, counter = folder / "root", folder / "counter"
        counter.write_bytes(b"")
        code, output = child(stage.begin(root), failing(root, -1, 0, counter))
        assert code == 0, output
        writes = counter.stat().st_size
        chosen = range(writes) if writes <= count else sorted(draw.sample(range(writes), count))
        for number in chosen:
            kind = draw.choice(list(ERRORS))
            found = troubled(stage, root, number, kind)
            done += 1
            wrong += found
            for line in found:
                say(f"{kind} at write {number}: {line}")
        say(f"{stage.name}: {len(chosen)} of {writes} writes; {len(wrong)} wrong so far")
    return done, wrong


def troubled(stage: Stage, root: Path, number: int, kind: str) -> list[str]:
    """What is wrong when one write fails, and after the same command on a disk that works."""
    code, output = child(stage.begin(root), failing(root, number, ERRORS[kind]))
    said = " ".join(output.split())
    wrong = []
    if "bug in mmcli" in said or "Traceback" in said or code < 0:
        wrong.append(f"{stage.name} ended with {code}: {said[-400:]}")
    return wrong + stage.mended(root)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="of each stage")
    parser.add_argument("--stage", action="append", choices=STAGES, default=[])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done, wrong = run(Path(folder), asked.count, asked.stage, asked.seed)
    say(f"{done} failing writes: {len(wrong)} wrong")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main()))
