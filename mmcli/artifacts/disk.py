"""Files that are whole or not there, folders that change places in one step. Knows nothing of manifests."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

WRITING = ".writing"
"""How the name of a file ends while it is written."""
_OWNER = re.compile(r"\.(\d+)-\d+\.writing$")
_count = itertools.count()
_digests: dict[tuple[str, int, int, int, int], str] = {}
"""File, as it was when it was read -> its sha256."""


def write_atomic(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Writes a file so that it is either whole or not there, and, with `flush`, on disk when this returns."""
    with opened(path, flush=flush) as file:
        file.write(data)


@contextlib.contextmanager
def opened(path: Path, *, flush: bool = True) -> Iterator[BinaryIO]:
    """A file to be written, which takes its name when all is there. Until then it has one of its own for each process and call,
    so that two that write the same file do not take each other's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{next(_count)}{WRITING}")
    try:
        with temporary.open("wb") as file:
            yield file
            if flush:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def digest_of(path: Path) -> str:
    """sha256 of a file's bytes; read once for as long as the file stays as it is."""
    found = path.stat()
    key = (str(path.absolute()), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    if key not in _digests:
        with path.open("rb") as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def swept(folder: Path, *, all_of_them: bool = False) -> int:
    """Takes away the half-written files of dead processes under a folder, or `all_of_them`, where its lock is held; gives how
    many there were."""
    count = 0
    for path in folder.rglob(f"*{WRITING}"):
        owner = _OWNER.search(path.name)
        if all_of_them or owner is None or not _alive(int(owner[1])):
            with contextlib.suppress(OSError):
                path.unlink()
                count += 1
    return count


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def sync(path: Path) -> None:
    """Puts a file or a directory on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folders(folder: Path) -> None:
    """Puts the names of all files under a folder on disk."""
    for path, _, _ in os.walk(folder):
        sync(Path(path))


def exchanged(one: Path, other: Path) -> bool:
    """Lets two folders change places in one step, where the system and its file system can (renameat2 of Linux); else False,
    and nothing has changed."""
    if not sys.platform.startswith("linux"):
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return int(call(here, os.fsencode(one), here, os.fsencode(other), exchange)) == 0


def removed(folder: Path) -> None:
    """Takes a folder away, however far that has been done already."""
    shutil.rmtree(folder, ignore_errors=True)
