"""kill -9 at random moments of each stage: the same command then gives the same hashes, and leaves nothing behind.

    python -m tests.faults.kills [--count N] [--stage NAME]

Half of the moments are drawn from the time that the stage takes, half from its flushes and renames, between which the disk
changes.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.forked import Stage, child, say, stages, stages_of, warm_up
from tests.faults.tiny import STAGES

CHANGES = ("fsync", "rename", "replace", "mkdir", "link", "unlink")
"""Calls of `os` by which what is on disk changes."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after_seconds(seconds: float) -> Callable[[], None]:
    """Ends the process so long after it began, as kill -9 does: nothing of Python runs."""

    def prepare() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-4))

    return prepare


def at_change(number: int) -> Callable[[], None]:
    """Ends the process just before its change of that number to what is on disk."""

    def prepare() -> None:
        left = [number]

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def inner(*arguments: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    _die()
                return call(*arguments, **named)

            return inner

        for name in CHANGES:
            setattr(os, name, counted(getattr(os, name)))

    return prepare


def changes_of(stage: Stage, root: Path) -> tuple[int, float]:
    """How many changes a stage makes to what is on disk, and how long it takes."""
    counter = root.with_name("changes")

    def prepare() -> None:
        for name in CHANGES:
            call = getattr(os, name)

            def counted(*arguments: Any, _call: Callable[..., Any] = call, **named: Any) -> Any:
                with counter.open("ab", buffering=0) as file:
                    file.write(b".")
                return _call(*arguments, **named)

            setattr(os, name, counted)

    counter.write_bytes(b"")
    started = time.monotonic()
    code, output = child(stage.begin(root), prepare)
    assert code == 0, output
    return counter.stat().st_size, time.monotonic() - started


def killed(stage: Stage, root: Path, prepare: Callable[[], None]) -> tuple[bool, list[str]]:
    """Whether it was killed before its end, and what is wrong after the same command once more."""
    code, output = child(stage.begin(root), prepare)
    wrong = [] if code in {0, -signal.SIGKILL, -signal.SIGALRM} else [f"{stage.name}: ended with {code}: {output[-300:]}"]
    return code < 0, wrong + stage.mended(root)


def run(folder: Path, count: int, names: list[str], seed: int = 0, chain: Path | None = None) -> tuple[int, list[str]]:
    """Kills each stage so often; gives how many were killed in all, and what is wrong."""
    draw, done, wrong = random.Random(seed), 0, list[str]()
    warm_up(names)
    for stage in stages_of(chain, folder, names) if chain else stages(folder, names):
        root = folder / "root"
        changes, seconds = changes_of(stage, root)
        for number in range(count):
            moment = at_change(draw.randrange(changes)) if number % 2 else after_seconds(draw.random() * seconds)
            cut, found = killed(stage, root, moment)
            done += cut
            wrong += found
            for line in found:
                say(line)
        say(f"{stage.name}: {count} moments of {seconds:.1f} s and {changes} changes; {len(wrong)} wrong so far")
    return done, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="of each stage")
    parser.add_argument("--stage", action="append", choices=STAGES, default=[])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done, wrong = run(Path(folder), asked.count, asked.stage, asked.seed)
    say(f"{done} kills: {len(wrong)} wrong")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main()))
