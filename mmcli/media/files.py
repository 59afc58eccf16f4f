"""Finding and opening what cells name: paths under a folder, addresses of any store that fsspec knows, and media that stand in
the cells themselves, as data URIs or base64.

Only plain files are opened: a folder, a pipe or a device is refused before anything waits for it.
"""

from __future__ import annotations

import base64
import binascii
import errno
import json
import os
import re
import stat
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from mmcli.media import addresses, magic, marks
from mmcli.media.addresses import is_address

MAX_REMOTE_BYTES = addresses.MAX_BYTES
"""The largest file that is fetched from elsewhere."""
_PLAIN = re.compile(r"[^\s~\[{\"'](?:[^;|,\n\\]{0,254}[^\s;|,\n\\])?")
"""A cell that can mean nothing but one path; all others are looked at closely."""
_BETWEEN_PATHS = re.compile(r"[;|,\n]")
_BETWEEN_ADDRESSES = re.compile(r"[;|,\s]+(?=[A-Za-z][A-Za-z0-9+.\-]*://)")
_QUOTED = re.compile(r"\[\s*'[^']*'(?:\s*,\s*'[^']*')*\s*,?\s*\]")
_NO_FILES = re.compile(r"\[\s*(?:(?:null|None|\"\s*\"|'\s*')(?:\s*,\s*(?!\])|\s*(?=\])))*\]")
_OF_DATA = re.compile(r"\s*[\[{][\s\[{\"']*(?:\w+[\"']\s*:\s*[\"'])?data:")
"""How lists and objects of media begin that stand in the cells themselves."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-]{40}")
_LONGEST_LIST = 16_384
"""Characters up to which a cell is looked at as several names; a longer one is words, or bytes."""
_SHORTEST_WEAK = 400
"""Characters from which on base64 is believed where few bits tell what it holds."""
_LONGEST_REASON = 300
_REQUESTS_AT_ONCE = 16


def resolve(cell: str, root: str) -> str:
    """The path, address or data URI that a cell means, relative paths under `root`; of several the first. A mark stays."""
    cell, mark = marks.parted(cell)
    return _resolve_one(cell if _is_plain(cell) else parts(cell, root)[0], root) + mark


def path_of(cell: str, root: str) -> str | None:
    """As `resolve`; None where the cell is a list of no files, and so missing."""
    return None if names_none(cell) else resolve(cell, root)


def is_several(cell: str, root: str) -> bool:
    """Whether a cell names several files."""
    cell, _ = marks.parted(cell)
    return not _is_plain(cell) and len(parts(cell, root)) > 1


def names_none(cell: str) -> bool:
    """Whether a cell is a list of no files, as Parquet and JSON have them: such a cell is missing."""
    return cell[:1] == "[" and _NO_FILES.fullmatch(marks.parted(cell)[0].rstrip()) is not None


def parts(cell: str, root: str) -> list[str]:
    """What a cell names, one after the other: mostly one thing. A JSON list, or parts that `;`, `|`, a comma or a line's end
    separates, where the first of them is there."""
    if _is_data(cell) or not _is_one(cell, root):
        cell = cell.strip()
    if _is_data(cell):
        return [cell]
    listed = _listed(cell)
    if listed:
        return listed
    if len(cell) > _LONGEST_LIST:
        return [cell]
    if is_address(cell):
        return _BETWEEN_ADDRESSES.split(cell)
    own = [part.strip().strip("\"'") for part in _BETWEEN_PATHS.split(cell) if part.strip().strip("\"'")]
    if own and own != [cell] and not _is_one(cell, root) and _is_one(own[0], root):
        return own
    return [cell]


def exists(path: str) -> bool:
    """Whether there is something at that path or address, or in the data URI."""
    path, _ = marks.parted(path)
    if _is_data(path):
        return True
    if is_address(path):
        return addresses.trouble(path) is None
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def shown(cell: str) -> str:
    """A cell as a person may read it: media that stand in it are cut short."""
    limit = 60
    name, mark = marks.parted(cell)
    if mark.startswith(marks.NONE):
        cell = name  # why is told beside it
    cell = cell.encode("utf-8", "backslashreplace").decode()  # halves of characters cannot be written
    if len(cell) <= 4 * limit or not (_is_data(cell.lstrip()) or _BASE64.match(cell) or _OF_DATA.match(cell)):
        return cell
    return f"{cell.strip()[:limit]}… ({len(cell):,} characters)"


def stamp(path: str | None) -> list[Any] | None:
    """Size and time of change (or what a store gives for it) of a file; None if it is not there, or stands in the cell."""
    if path is None or _is_data(path):
        return None
    path, _ = marks.parted(path)
    try:
        if is_address(path):
            return addresses.stamp(path)
        status = os.stat(path)  # noqa: PTH116 - a million of these
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]


def stamps(paths: Sequence[str | None]) -> list[Any]:
    """The stamp of each file."""
    if not any(path is not None and is_address(path) for path in paths):
        return [stamp(path) for path in paths]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return list(pool.map(stamp, paths))


def source(path: str) -> str | BytesIO:
    """What a decoder may open: the path itself, or the bytes of an address or a data URI.

    Raises:
        FileNotFoundError: there is no such file.
        OSError, ValueError: it is no plain file, is empty, or is too large to be fetched.
    """
    path, _ = marks.parted(path)
    if _is_data(path):
        data = _data(path)
        if not data:
            raise ValueError("the cell holds no bytes")
        return BytesIO(data)
    if is_address(path):
        data = addresses.fetch(path, MAX_REMOTE_BYTES)
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


def unmarked(path: str) -> str | BytesIO:
    """As `source`, of what has no faces.

    Raises:
        ValueError: a mark behind the name tells where one is.
    """
    _, mark = marks.parted(path)
    if mark:
        raise ValueError(f"{mark} tells where on a picture a face is, and this is none: name the file alone")
    return source(path)


def head(path: str) -> bytes:
    """The first bytes of what `source` opens; of an address no more than these are fetched."""
    if is_address(path):
        return addresses.fetch(path, magic.HEAD_BYTES)[: magic.HEAD_BYTES]
    found = source(path)
    if not isinstance(found, str):
        return found.read(magic.HEAD_BYTES)
    with Path(found).open("rb") as file:
        return file.read(magic.HEAD_BYTES)


def is_of_cell(error: BaseException) -> bool:
    """Whether a cell is to blame: not where the machine has too little of something, nor where mmcli itself is wrong. Such
    errors must not become rejects, which are kept."""
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}:
        return False
    if isinstance(error, RuntimeError) and "allocate memory" in str(error):
        return False
    if not isinstance(error, NameError | AttributeError) or error.__traceback__ is None:
        return True
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] != "mmcli"


def reason(error: BaseException, what: str) -> str:
    """Why a file could not be read, for a person; `what` is what was expected, e.g. `an image that Pillow can read`.

    Raises:
        The error itself, where it is not of the cell.
    """
    if not is_of_cell(error):
        raise error
    text = " ".join(str(error).split())
    if isinstance(error, FileNotFoundError):
        return text if " answered " in text else "there is no such file"
    if isinstance(error, PermissionError):
        return "there is no permission to read it"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror.lower()
    text = text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"
    if not isinstance(error, OSError | ValueError | SyntaxError | ImportError):
        return f"it is damaged ({type(error).__name__}{f': {text}' if text else ''})"
    return text or f"not {what}"


def _is_plain(cell: str) -> bool:
    return _PLAIN.fullmatch(cell) is not None and not _BASE64.match(cell)


def _resolve_one(cell: str, root: str) -> str:
    if _is_data(cell):
        return cell
    if _BASE64.match(cell) and _is_media_in_base64(cell) and not _is_one(cell, root):
        return f"data:;base64,{cell}"
    if is_address(cell):
        return _archive(cell, root) if "::" in cell else _of_file_address(cell, root) if _is_file_address(cell) else cell
    if is_address(root):
        return f"{root.rstrip('/')}/{cell}"
    path = os.path.join(root, cell)  # noqa: PTH118 - keeps an absolute cell as it is
    if cell.startswith("~") and not os.path.lexists(path):
        return os.path.expanduser(cell)  # noqa: PTH111 - a cell that is no path stays as it is
    if "\\" in cell and not os.path.lexists(path):
        return os.path.join(root, cell.replace("\\", "/"))  # noqa: PTH118
    return path


def _is_one(cell: str, root: str) -> bool:
    """Whether the cell as it stands names a file under a folder of this machine."""
    if not cell or is_address(cell) or is_address(root) or len(cell) > 4096:
        return False
    try:
        return Path(_resolve_one_path(cell, root)).exists()
    except (OSError, ValueError):
        return False


def _resolve_one_path(cell: str, root: str) -> str:
    path = os.path.join(root, cell)  # noqa: PTH118
    return path if "\\" not in cell or os.path.lexists(path) else os.path.join(root, cell.replace("\\", "/"))  # noqa: PTH118


def _listed(cell: str) -> list[str]:
    """The texts of a JSON list (or one as Python prints it), the path or bytes of an object; empty where it is neither."""
    if not cell.startswith(("[", "{")) or len(cell) < 2:
        return []
    if len(cell) <= _LONGEST_LIST and _QUOTED.fullmatch(cell):
        return re.findall(r"'([^']+)'", cell)
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return []
    named = [_named(item) for item in (found if isinstance(found, list) else [found])]
    return [name for name in named if name] if all(name is not None for name in named) else []


def _named(item: object) -> str | None:
    if isinstance(item, dict):
        told = item.get("bytes") or item.get("path") or item.get("url") or item.get("src")
        return told if isinstance(told, str) else None
    return item.strip() if isinstance(item, str) else None


def _is_file_address(cell: str) -> bool:
    return cell[:7].lower() == "file://"


def _of_file_address(cell: str, root: str) -> str:
    """The path of `file://`, its escapes undone, where there is no file that is called so with them (RFC 8089)."""
    host, slash, rest = cell[7:].partition("/")
    path = slash + rest if host in {"", "localhost"} else os.path.join(root, host + slash + rest)  # noqa: PTH118
    plain = unquote(path)
    return path if plain != path and not os.path.lexists(plain) and os.path.lexists(path) else plain


def _archive(cell: str, root: str) -> str:
    """`zip://name::archive.zip`, the archive under `root`."""
    inner, _, outer = cell.rpartition("::")
    if not inner or is_address(outer):
        return cell
    return f"{inner}::{_resolve_one(outer, root)}"


def _is_data(cell: str) -> bool:
    return cell[:5].lower() == "data:" and "," in cell


def _data(uri: str) -> bytes:
    """The bytes of a data URI (RFC 2397); base64 with or without its last signs, in either alphabet.

    Raises:
        ValueError: it is damaged.
    """
    before, _, data = uri.partition(",")
    if not before.lower().rstrip().endswith(";base64"):
        return unquote_to_bytes(data)
    plain = "".join((unquote(data) if "%" in data else data).split()).rstrip("=")
    try:
        return base64.b64decode(
            plain + "=" * (-len(plain) % 4), altchars=b"-_" if re.search("[-_]", plain) else None, validate=True
        )
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"its base64 is damaged ({str(error).lower()})") from None


def _is_media_in_base64(cell: str) -> bool:
    """Whether the bytes that it would hold begin like media."""
    start = "".join(cell[: 2 * magic.HEAD_BYTES].split())
    start = start[: len(start) // 4 * 4].replace("-", "+").replace("_", "/")
    try:
        kind = magic.kind_of(base64.b64decode(start, validate=True))
    except (binascii.Error, ValueError):
        return False
    return kind.family in {"image", "audio", "container", "vector"} and not (magic.is_weak(kind) and len(cell) < _SHORTEST_WEAK)
