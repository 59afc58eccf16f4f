"""kill -9 of a parent alone, at random moments of `train-encoder` after it has a worker: none of its processes outlives it.

    python -m tests.faults.orphans [--count N]

Then the same command gives the same hashes, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.forked import Stage, say, stages, warm_up

GONE_S = 10.0
"""How long workers may take to see that their parent is gone."""


def with_workers(stage: Stage, root: Path) -> list[str]:
    """Its command as a process of its own, so that it starts others."""
    said = stage.begin(root)
    said[said.index("--threads") + 1] = "2"
    return [sys.executable, "-m", "mmcli", *said]


def in_group(group: int) -> list[int]:
    """The processes of a group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if fields[0] != "Z" and int(fields[2]) == group:
                found.append(int(path.parent.name))
    return found


def killed(stage: Stage, root: Path, after_s: float) -> tuple[int, list[str]]:
    """How many workers there were when the parent was killed, and what is wrong afterwards."""
    process = subprocess.Popen(
        with_workers(stage, root), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len(in_group(process.pid)) < 2:
        time.sleep(0.05)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
    workers = len(in_group(process.pid)) - 1
    process.kill()
    process.wait()
    until = time.monotonic() + GONE_S
    while (left := in_group(process.pid)) and time.monotonic() < until:
        time.sleep(0.1)
    wrong = [f"{stage.name}: {len(left)} outlive it after {GONE_S:g} s"] if left else []
    if left:
        os.killpg(process.pid, signal.SIGKILL)
    return max(workers, 0), wrong + stage.mended(root)


def run(folder: Path, count: int, seed: int = 0) -> tuple[int, int, list[str]]:
    """Kills the parent so often; gives how often, how many workers there were in all, and what is wrong."""
    draw, done, workers, wrong = random.Random(seed), 0, 0, list[str]()
    warm_up(["train-encoder"])
    for stage in stages(folder, ["train-encoder"]):
        root = folder / "root"
        started = time.monotonic()
        subprocess.run(with_workers(stage, root), check=True, capture_output=True)
        seconds = time.monotonic() - started
        for _ in range(count):
            found, said = killed(stage, root, draw.random() * seconds / 2)
            done += 1
            workers += found
            wrong += said
            for line in said:
                say(line)
    return done, workers, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done, workers, wrong = run(Path(folder), asked.count)
    say(f"{done} parents killed, with {workers} workers: {len(wrong)} wrong")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main()))
