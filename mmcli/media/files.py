"""Finding and opening the files that cells name: paths under a folder, or addresses of any store that fsspec knows.

Only plain files are opened: a folder, a pipe or a device is refused before anything waits for it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

MAX_REMOTE_BYTES = 1 << 30
"""The largest file that is fetched from elsewhere."""


def is_address(path: str) -> bool:
    """Whether it names a store (`s3://...`, `https://...`) rather than a file of this machine."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.replace("+", "").replace(":", "").isalnum()


def resolve(cell: str, root: str) -> str:
    """The path or address that a cell means, relative ones under `root`."""
    if is_address(cell):
        return cell.removeprefix("file://") if cell.startswith("file://") else cell
    if is_address(root):
        return f"{root.rstrip('/')}/{cell}"
    return os.path.join(root, cell)  # noqa: PTH118 - keeps an absolute cell as it is


def exists(path: str) -> bool:
    """Whether there is something at that path or address."""
    try:
        if is_address(path):
            system, inner = _system(path)
            return bool(system.exists(inner))
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def stamp(path: str | None) -> list[Any] | None:
    """Size and time of change (or what a store gives for it) of a file; None if it is not there."""
    if path is None:
        return None
    try:
        if is_address(path):
            system, inner = _system(path)
            info = system.info(inner)
            changed = next((info[key] for key in ("ETag", "etag", "mtime", "LastModified", "created") if info.get(key)), None)
            return [info.get("size"), str(changed)]
        status = os.stat(path)  # noqa: PTH116 - a million of these
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def stamps(paths: Sequence[str | None]) -> list[Any]:
    """The stamp of each file."""
    return [stamp(path) for path in paths]


def source(path: str) -> str | BytesIO:
    """What a decoder may open: the path itself, or the bytes of an address.

    Raises:
        FileNotFoundError: there is no such file.
        OSError, ValueError: it is no plain file, is empty, or is too large to be fetched.
    """
    if is_address(path):
        system, inner = _system(path)
        size = system.info(inner).get("size")
        if size is not None and size > MAX_REMOTE_BYTES:
            raise ValueError(f"it has {size:,} bytes; at most {MAX_REMOTE_BYTES:,} are fetched")
        with system.open(inner, "rb") as file:
            data = file.read(MAX_REMOTE_BYTES + 1)
        if len(data) > MAX_REMOTE_BYTES:
            raise ValueError(f"it has more than {MAX_REMOTE_BYTES:,} bytes")
        if not data:
            raise ValueError("the file is empty")
        return BytesIO(data)
    status = os.stat(path)  # noqa: PTH116 - follows links; a loop of links is an OSError
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is a folder, a pipe or a device, not a file")  # a pipe would be waited for without end
    if not status.st_size:
        raise ValueError("the file is empty")
    return path


def reason(error: BaseException, what: str) -> str:
    """Why a file could not be read, for a person; `what` is what was expected, e.g. `an image that Pillow can read`."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "there is no permission to read it"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror.lower()
    text = " ".join(str(error).split())
    return text or f"not {what}"


def _system(path: str) -> tuple[Any, str]:
    import fsspec  # only tables with addresses need it

    try:
        system, inner = fsspec.core.url_to_fs(path)
    except ImportError as error:
        raise OSError(f"{error}") from None
    return system, inner
