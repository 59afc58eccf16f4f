"""Inputs trained side by side: a process to a core, each computing on one thread.

So no bit depends on how many cores there are, and small networks, which more threads do not make faster, keep all cores busy.
Inputs are dealt one at a time, the largest first; what a process fails at is done here, and fails with its own message.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import IO

from mmcli import registry
from mmcli.artifacts import processes
from mmcli.data.dataset import Dataset
from mmcli.encoders import Encoder
from mmcli.options.train_encoder import Options
from mmcli.reporting.console import Replay
from mmcli.stages import Context
from mmcli.stages.train_encoder.candidates import Candidate
from mmcli.training import device

_WORK = (
    "from mmcli.artifacts import processes; processes.follow(); from mmcli.stages.train_encoder import worker; worker.main()"
)
"""It follows this process before it imports anything that takes long."""
DONE = "done"
"""The event that ends an input."""


def cores(context: Context) -> int:
    """How many inputs may train at once: one on a GPU, which a single one fills."""
    if device.choose(context.device).device.type != "cpu":
        return 1
    return context.threads or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


class Clock:
    """What is left of the time that all inputs have together."""

    def __init__(self, seconds: float | None) -> None:
        self._ends = None if seconds is None else time.monotonic() + seconds

    def share(self, waiting: int, at_once: int = 1) -> float | None:
        """Seconds for the first of so many inputs that wait, worked off so many at a time; None where there is no limit."""
        if self._ends is None:
            return None
        return max(self._ends - time.monotonic(), 1.0) / math.ceil(waiting / at_once)


@dataclass
class Queue:
    """The inputs that nobody has begun yet."""

    waiting: deque[str]
    clock: Clock
    at_once: int
    made: set[str] = field(default_factory=set)
    """Those that another process has done."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> tuple[str, float | None] | None:
        """An input, and how long it may train."""
        with self._lock:
            if not self.waiting:
                return None
            seconds = self.clock.share(len(self.waiting), self.at_once)
            return self.waiting.popleft(), seconds

    def give_back(self, name: str) -> None:
        with self._lock:
            self.waiting.append(name)


PRODUCTS = 256
"""How often networks of pictures, clips and sound use each byte that they read, about."""


def by_work(candidates: Mapping[str, Sequence[Candidate]], dataset: Dataset) -> list[str]:
    """The inputs that take longest first: by what all epochs read, or, of forms and vectors, multiply."""

    def work(name: str) -> int:
        own = dataset.input(name)
        total = 0
        for candidate in candidates[name]:
            read = dataset.bytes_of(name)
            if own.spec.kind in {"fields", "vector"}:
                kind: type[Encoder] = registry.load("encoders", candidate.architecture)
                read = kind.parameter_formula(candidate.config, own.spec) * len(dataset.splits["train"]) // PRODUCTS
            total += read * candidate.training.epochs
        return total

    return sorted(candidates, key=lambda name: (-work(name), name))


@contextmanager
def helped(
    candidates: Mapping[str, Sequence[Candidate]], dataset: Dataset, options: Options, context: Context
) -> Iterator[Queue]:
    """A queue of those inputs, which other processes take from as well, as many as there are cores to spare. At its end all
    that they took is done, or waits in the queue again."""
    at_once = min(cores(context), len(candidates))
    queue = Queue(deque(by_work(candidates, dataset)), Clock(options.time_budget), at_once)
    children = [_Child(_start(options, context), queue, context) for _ in range(at_once - 1)]
    try:
        yield queue
        for child in children:
            child.join()
    finally:
        for child in children:
            child.kill()


def working(queue: Queue, work: Callable[[str, float | None], object]) -> None:
    """Does what is left in the queue."""
    while (taken := queue.take()) is not None:
        work(*taken)


def _start(options: Options, context: Context) -> subprocess.Popen[str]:
    order = {
        "root": str(context.root),
        "settings": context.settings.values,
        "device": context.device,
        "precision": context.precision,
        "seed": context.seed,
        "force": context.force,
        "fixed": None if context.fixed is None else context.fixed.as_dict(),
        "command": context.command,
        "trust": list(map(str, registry.trusted())),
        "options": asdict(options),
    }
    child = subprocess.Popen(
        [sys.executable, "-c", _WORK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**processes.environment(), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
    )
    with contextlib.suppress(OSError):  # one that is gone already takes no inputs
        _say(child, order)
    return child


def _say(child: subprocess.Popen[str], value: object) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(value) + "\n")
    child.stdin.flush()


class _Child:
    """One process, and the thread that deals inputs to it and shows what it says."""

    def __init__(self, process: subprocess.Popen[str], queue: Queue, context: Context) -> None:
        self._process = process
        self._queue = queue
        self._replay = Replay(context.console)
        self._thread = threading.Thread(target=self._deal, daemon=True)
        self._thread.start()

    def _deal(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        while (taken := self._queue.take()) is not None:
            name, seconds = taken
            if not self._had_done(name, seconds, stdout):
                self._queue.give_back(name)
                break
            self._queue.made.add(name)
        self._replay.close()
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:  # it is gone
            return

    def _had_done(self, name: str, seconds: float | None, stdout: IO[str]) -> bool:
        try:
            _say(self._process, [name, seconds])
        except OSError:
            return False
        for line in stdout:
            kind, *values = json.loads(line)
            if kind == DONE:
                return True
            self._replay.show(kind, *values)
        return False

    def join(self) -> None:
        self._thread.join()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not yet written to one that is gone
                    pipe.close()
