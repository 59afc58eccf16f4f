"""A typed value of a table as a cell: text that loses nothing. Knows nothing of files and columns.

Numbers become their shortest text, lists and objects JSON with dates and decimals as text. Bytes that are no text, and objects
of bytes and a path (as Hugging Face `datasets` writes media), become data URIs: `data:;name=cat.png;base64,...`.
"""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote
from uuid import UUID

BYTES = "data:;"
"""What cells of bytes begin with: no media type is told, since none is known."""
CUT_CHARACTER = "half of a character: a text cut in the middle of an emoji?"
"""What `surrogate` finds, in words."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f]")


def as_text(value: Any) -> str | None:
    """A value as a cell; None where it is missing or blank."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bytes | bytearray | memoryview):
        return data_uri(bytes(value))
    if isinstance(value, dict) and _is_media(value):
        return _media(value)
    if isinstance(value, list | tuple | dict):
        return as_json(value)
    return _scalar(value)


def as_json(value: Any) -> str:
    """A nested value as JSON."""
    return json.dumps(_plain(value), ensure_ascii=False, default=_in_json)


def data_uri(data: bytes, name: str = "") -> str:
    """Bytes as a data URI, with the name of the file that they came from."""
    told = f"name={quote(name)};" if name else ""
    return f"{BYTES}{told}base64,{base64.b64encode(data).decode('ascii')}"


def is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8 text: they decode, and hold no control characters but blanks and ends of lines."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not _CONTROLS.search(data)


def surrogate(text: str) -> str:
    """Half of a character that stands by itself (as `\\ud83d`), which no encoding can write; empty if there is none."""
    found = _SURROGATE.search(text)
    return f"\\u{ord(found[0]):04x}" if found else ""


def _is_media(value: dict[Any, Any]) -> bool:
    """Whether it is how Hugging Face `datasets` writes a file."""
    if value.keys() != {"bytes", "path"}:
        return False
    return isinstance(value["bytes"], bytes | None) and isinstance(value["path"], str | None)


def _media(value: dict[str, Any]) -> str | None:
    """The bytes where they are there, else the path."""
    data, path = value["bytes"], value["path"] or ""
    if data is None:
        return path if path.strip() else None
    return data_uri(data, PurePosixPath(path.replace("\\", "/")).name)


def _scalar(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else str(value)
    if isinstance(value, timedelta):
        return repr(value.total_seconds()).removesuffix(".0")
    return str(value)


def _plain(value: Any) -> Any:
    """The value with media objects as data URIs and the keys of objects as text."""
    if isinstance(value, dict):
        if _is_media(value):
            return _media(value)
        return {key if isinstance(key, str) else _scalar(key): _plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(own) if isinstance(own, list | tuple | dict) else own for own in value]
    return value


def _in_json(value: Any) -> Any:
    """What JSON has no type for, as text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta | UUID):
        return _scalar(value)
    if hasattr(value, "tolist"):  # arrays and scalars of numpy
        return value.tolist()
    return str(value)
