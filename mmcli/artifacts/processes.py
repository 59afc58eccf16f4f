"""Processes that work for another end with it, however it ends. Knows nothing of what they do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping

_PARENT = "MMCLI_PARENT"
"""The variable that names the process to end with."""
_LOOK_EVERY_S = 0.2


def environment() -> Mapping[str, str]:
    """That of a process which ends with this one, if it calls `follow` first of all."""
    return {**os.environ, _PARENT: str(os.getpid())}


def follow() -> None:
    """Ends this process soon after the one that it works for, if it works for one: kill -9 leaves no other way to tell it."""
    parent = os.environ.pop(_PARENT, "")  # processes that this one starts follow this one
    if parent.isdecimal():
        threading.Thread(target=_watch, args=(int(parent),), daemon=True, name="follows its parent").start()


SPINS = "10000"
"""Turns for which a thread looks whether the others are there before it sleeps: enough where they are, tens of microseconds."""


def wait_asleep() -> None:
    """Has threads that wait for one another sleep soon, unless the user wants otherwise. By default they spin thirty times as
    long: on cores that others use too, the one waits out its share of the time while that which it waits for gets none. To be
    called before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY_S)
    os._exit(1)  # as kill -9 would: what is complete is on disk, the rest is made again
