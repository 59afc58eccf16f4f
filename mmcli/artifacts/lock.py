"""A kernel file lock for each artifact, and for each file while it is written: a second writer ends at once."""

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

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be written by another
    fcntl = None  # type: ignore[assignment]

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


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Holds a file that is being written, under the name that it has until it is whole; it is there from now on.

    Raises:
        BusyError: another process is writing it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise BusyError(
                f"{what} is being written by another process", "Wait for it to end, or write to another file with -o."
            ) from None
        except OSError:  # a file system without locks
            break
        if _is(path, handle):
            break
        os.close(handle)  # the one that had it has just ended: the name is another file's by now
    try:
        yield
    finally:
        os.close(handle)


def _is(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _holder(file: Path) -> str:
    try:
        holder = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return "another process"
    seconds = time.time() - holder["since"]
    return f"process {holder['pid']} on {holder['host']} ({holder['command']}), for {seconds:.0f} s now"
