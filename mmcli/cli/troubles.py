"""What is wrong with the machine rather than with mmcli: a full disk, too little memory, output that nobody takes; in words."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmcli import __version__

_STREAMS = {"standard output": "stdout", "standard error": "stderr"}
_FULL = ("no space left on device", "disk quota exceeded", "file too large")
_BROKEN = ("input/output error", "disk i/o error")
_READ_ONLY = "read-only file system"
_MEMORY = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "unable to allocate",
    "bad_alloc",
    "can't start new thread",
    "failed to map segment",
)
"""What libraries say, in small letters, whatever class their errors are of."""

ELSEWHERE = "To write elsewhere: --artifacts DIR, -o FILE for a table, --to DIR for an export."


def open_streams() -> str:
    """Opens those standard streams that the caller closed, so that no file takes their place, and gives which those are; lets
    errors of all say which stream they are of."""
    closed = [number for number in range(3) if not _is_open(number)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for number, (said, name) in enumerate(_STREAMS.items(), 1):
        own: Any = getattr(sys, name) or io.TextIOWrapper(io.BytesIO(), "utf-8")
        file = io.BufferedWriter(_Stream(number, said))
        how = {"line_buffering": own.line_buffering, "write_through": own.write_through}
        setattr(sys, name, io.TextIOWrapper(file, own.encoding, own.errors, **how))
    return " and ".join(said for number, said in enumerate(_STREAMS, 1) if number in closed)


class _Stream(io.FileIO):
    """A standard stream whose errors say which it is: nothing else tells them from those of files."""

    def __init__(self, number: int, said: str) -> None:
        super().__init__(number, "w", closefd=False)
        self._said = said

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self._said
            raise


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def trouble_of(error: BaseException) -> tuple[str, str] | None:
    """What is wrong and what to do; None where it is something else."""
    chain = list(_chain(error))
    stream = next((found for own in chain if (found := _of_streams(own))), None)
    if stream:
        return stream
    for own in chain:
        said, number = " ".join(str(own).split()), getattr(own, "errno", None)
        text, where, asked = said.lower(), _where(own), _asked(getattr(own, "filename", None))
        said = str(getattr(own, "strerror", None) or said) if asked else said
        if number in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} or any(words in text for words in _FULL):
            remedy = "Make room (df -h tells how much there is), then give the same command: it goes on from what is complete."
            return f"the disk is full{where}: {said}", remedy
        if number == errno.EIO or any(words in text for words in _BROKEN):
            remedy = "Look after the disk, or write elsewhere with --artifacts DIR; the same command goes on from there."
            return f"the disk does not work{where}: {said}", remedy
        if number == errno.EROFS or _READ_ONLY in text:
            return f"{asked or 'a file'} cannot be written: the file system there is read-only", ELSEWHERE
        if number in {errno.EACCES, errno.EPERM} and asked:
            return f"{asked} may not be read or written: {said}", f"Change its permissions (ls -l tells them). {ELSEWHERE}"
        file = _file_among(getattr(own, "filename", None)) if number == errno.ENOTDIR else None
        if file is not None:
            return f"{file} is a file, and a folder is to be there", "Name a folder, or move the file away."
        if number in {errno.EMFILE, errno.ENFILE}:
            return f"too many files are open: {said}", "Allow more (ulimit -n), then give the same command."
        if isinstance(own, MemoryError) or number == errno.ENOMEM or any(words in text for words in _MEMORY):
            remedy = (
                "Allow more (ulimit -v tells a limit), or ask for less: --threads 1, --workers 1, a smaller "
                "--set training.batch_size; the same command goes on from what is complete."
            )
            return f"there is too little memory: {said or type(own).__name__}", remedy
    return None


def _file_among(path: object) -> Path | None:
    """The file that a path runs through, or is, where a folder is wanted."""
    if not isinstance(path, str | os.PathLike):
        return None
    own = Path(path)
    return next((found for found in (own, *own.parents) if found.is_file()), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it came of."""
    seen = set[int]()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        if isinstance(found, NameError | AttributeError | TypeError | AssertionError):
            return  # a bug, whatever it was that was being handled
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _where(error: BaseException) -> str:
    name = _asked(getattr(error, "filename", None))
    return f" where {name} lies" if name else ""


def _asked(name: object) -> str:
    """The path that was asked for, of one under which it is written until it is whole; empty where there is none."""
    if not name or not isinstance(name, str | os.PathLike):
        return ""
    found = list[str]()
    for part in Path(name).parts:
        if part == ".locks" or part.startswith(".export-"):
            break
        found.append(part[1:].removesuffix(".partial") if part[:1] == "." and part.endswith(".partial") else part)
    return str(Path(*found))


def _of_streams(error: BaseException) -> tuple[str, str] | None:
    name = error.filename if isinstance(error, OSError) else None
    if not isinstance(error, OSError) or name not in _STREAMS:
        return None
    if name == "standard output":  # the other one is tried again, to say so
        drop(sys.stdout)
    if error.errno == errno.EPIPE:
        return (
            f"{name} is a broken pipe: what reads it ended before all was said",
            "Read all of it, or let it go to a file: > FILE",
        )
    remedy = "Let it go elsewhere, or nowhere: " + ("> /dev/null" if name.endswith("output") else "2> /dev/null")
    return f"{name} cannot be written to: {error.strerror}", remedy


def drop(stream: Any) -> None:
    """Lets all that is still to be written to a stream vanish: nobody takes it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def log_of(error: BaseException) -> Path | None:
    """Writes down what is needed to mend a bug, where there is room for it."""
    base = os.environ.get("MMCLI_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "mmcli"
    said = [
        f"mmcli {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: {' '.join(sys.argv)}",
        *traceback.format_exception(error),
    ]
    for folder in (Path(base), Path(tempfile.gettempdir())):
        path = folder / f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(said), encoding="utf-8", errors="backslashreplace")
            return path
    return None
