"""Processes that train for another, one to a core: told by JSON lines on stdin, telling by some on stdout. What there is to be
done is dealt to them a piece at a time; what a process fails at is given back, for the one that deals to do, whose message it
then is. Knows nothing of what the pieces are."""

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from mmcli.artifacts import processes
from mmcli.reporting.console import Console, Relayed, Replay
from mmcli.training import device

_WORK = "from mmcli.artifacts import processes; processes.follow(); from {module} import main; main()"
"""It follows this process before it imports anything that takes long."""
DONE = "done"
"""The event that ends a piece."""
Process = subprocess.Popen[str]


def cores(device_name: str, threads: int) -> int:
    """How many processes may train at once, where so many threads are asked for (0: none): one on a GPU, which a single one
    fills."""
    if device.choose(device_name).device.type != "cpu":
        return 1
    return threads or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))


class Clock:
    """What is left of the time that all pieces have together."""

    def __init__(self, seconds: float | None) -> None:
        self._ends = None if seconds is None else time.monotonic() + seconds

    def share(self, waiting: int, at_once: int = 1) -> float | None:
        """Seconds for the first of so many pieces that wait, worked off so many at a time; None where there is no limit."""
        if self._ends is None:
            return None
        return max(self._ends - time.monotonic(), 1.0) / math.ceil(waiting / at_once)


@dataclass
class Queue:
    """The pieces that nobody has begun yet."""

    waiting: deque[str]
    clock: Clock
    at_once: int
    made: set[str] = field(default_factory=set)
    """Those that another process has done."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> tuple[str, float | None] | None:
        """A piece, and how long it may take."""
        with self._lock:
            if not self.waiting:
                return None
            seconds = self.clock.share(len(self.waiting), self.at_once)
            return self.waiting.popleft(), seconds

    def give_back(self, name: str) -> None:
        with self._lock:
            self.waiting.append(name)


def start(module: str, order: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Process:
    """A process that runs `main` of the module on one thread, and is given the order; with those variables besides."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WORK.format(module=module)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**processes.environment(), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", **(environment or {})},
    )
    with contextlib.suppress(OSError):  # one that is gone already takes nothing
        _say(child, order)
    return child


def heard() -> dict[str, Any]:
    """What a process is given by the one that started it."""
    Relayed.alone()
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    return order


def pieces() -> Iterator[tuple[str, float | None]]:
    """What a process is dealt, until there is no more, each with its seconds: done once the next is asked for."""
    for line in sys.stdin:
        name, seconds = json.loads(line)
        yield name, seconds
        Relayed().tell(DONE)


def _say(child: Process, value: object) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(value) + "\n")
    child.stdin.flush()


def working(queue: Queue, work: Callable[[str, float | None], object]) -> None:
    """Does what is left in the queue."""
    while (taken := queue.take()) is not None:
        work(*taken)


@contextlib.contextmanager
def helped(queue: Queue, start_one: Callable[[], Process], console: Console) -> Iterator[None]:
    """Other processes take from the queue as well, one fewer than are to work at once. At its end all that they took is done,
    or waits in the queue again."""
    children: list[Child] = []
    try:
        children.extend(Child(start_one(), queue, console) for _ in range(queue.at_once - 1))
        yield
        for child in children:
            child.join()
    finally:
        for child in children:
            child.kill()


class Child:
    """One process, and the thread that deals to it and shows what it says."""

    def __init__(self, process: Process, queue: Queue, console: Console) -> None:
        self._process = process
        self._queue = queue
        self._replay = Replay(console)
        self._thread = threading.Thread(target=self._deal, daemon=True)
        self._thread.start()

    def _deal(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        while (taken := self._queue.take()) is not None:
            name, seconds = taken
            done = False
            try:
                done = self._had_done(name, seconds, stdout)
            except (ValueError, TypeError):  # what it said was no event
                self._process.kill()
            if not done:
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
