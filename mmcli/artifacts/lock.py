"""A kernel file lock for each artifact: a second writer ends at once, naming the first."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from mmcli.errors import BusyError


@contextmanager
def locked(root: Path, name: str) -> Iterator[None]:
    """Holds the lock of the artifact `name` under `root`; the kernel lets go of it when the process ends, however it ends.

    Raises:
        BusyError: another process holds it.
    """
    folder = root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.replace("/", "__")
    holder_file = folder / f"{stem}.json"
    lock = filelock.FileLock(folder / f"{stem}.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BusyError(
            f"{name} is being written by {_holder(holder_file)}",
            "Wait for it to end, or write elsewhere with --artifacts DIR.",
        ) from None
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "command": " ".join(sys.argv), "since": time.time()}
        holder_file.write_text(json.dumps(holder), encoding="utf-8")
        yield
    finally:
        holder_file.unlink(missing_ok=True)
        lock.release()


def _holder(file: Path) -> str:
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return "another process"
    seconds = time.time() - holder["since"]
    return f"process {holder['pid']} on {holder['host']} ({holder['command']}), for {seconds:.0f} s now"
