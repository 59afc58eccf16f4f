"""Names as they stand in cells: classes, labels, categories, groups. Two that look the same are the same."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence

from mmcli.errors import nearest

_AROUND = re.compile(r"^[\s\u200b\u2060\ufeff\u200e\u200f]+|[\s\u200b\u2060\ufeff\u200e\u200f]+$")
_PRINTED = re.compile(r"\[\s*(?:'[^'\\]*'(?:(?:\s*,\s*|\s+)'[^'\\]*')*\s*,?)?\s*\]")
"""Python's list of texts, and numpy's, which has no commas."""


def tidy(name: str) -> str:
    """The name without blanks and invisible marks around it, its letters composed (Unicode NFC): `cafe´` is `café`."""
    if name.isascii():
        return name.strip()
    return _AROUND.sub("", unicodedata.normalize("NFC", name))


def lacking(table: str, missing: Sequence[str], known: Sequence[str], columns: Sequence[str]) -> str:
    """That a table with these columns lacks some of those that a model knows, and which of its own have nearly such a name."""
    others = [name for name in columns if name not in known]
    near = [found for name in missing if (found := nearest(name, others))]
    asked = f" (did you mean {' and '.join(repr(name) for name in dict.fromkeys(near))}?)" if near else ""
    return f"{table} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}{asked}: absent in every row"


def listed(cell: str) -> list[str] | None:
    """The names in a cell that is a list, of JSON or as Python or numpy prints it; None where it is none."""
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return re.findall(r"'([^'\\]*)'", text) if _PRINTED.fullmatch(text) else None
    if any(isinstance(item, list | dict) for item in found):
        return None
    return [item if isinstance(item, str) else json.dumps(item) for item in found if item is not None]
