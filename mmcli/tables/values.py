"""What cells say: numbers, dates, lists of numbers, as people and programs write them. None where a cell says no such thing."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime

_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_CURRENCY = "$€£¥￥₹₩"
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y/%m/%d",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y.%m.%d",
    "%Y年%m月%d日",
    "%Y年%m月%d日 %H:%M",
    "%Y年%m月%d日 %H:%M:%S",
    "%Y年%m月",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%d-%m-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%Y-%m",
)
"""How dates are written, as strptime knows them; where several fit a whole column, the first is taken."""


def number(cell: str) -> float | None:
    """The finite number that a cell says: `-3`, `1e5`, `1,234.5`, `12%` (0.12), `$ 9`, `１２`."""
    text = cell.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("−", "-").strip()
    sign, text = ("-", text[1:]) if text[:1] == "-" else ("", text)
    text = sign + text.strip(_CURRENCY + " \u00a5")
    share = text.endswith("%")
    text = text.removesuffix("%").rstrip()
    if "," in text:
        if not _GROUPED.fullmatch(text):
            return None
        text = text.replace(",", "")
    if "_" in text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    return value / 100 if share else value


def date_format(cells: Sequence[str], share: float = 1.0) -> str | None:
    """The first of DATE_FORMATS that at least `share` of the cells are written in; None if none is."""
    return next((form for form in DATE_FORMATS if _fits(form, cells, share)), None)


def _fits(form: str, cells: Sequence[str], share: float) -> bool:
    allowed = len(cells) - share * len(cells) + 1e-9
    for cell in cells:
        if date(cell, form) is None:
            allowed -= 1
            if allowed < 0:
                return False
    return bool(cells)


def date(cell: str, form: str) -> datetime | None:
    """The moment that a cell written in that format says; what zone it names is left out."""
    text = cell.strip()
    if "%H" in form:
        text = re.sub(r"(Z|[+-]\d\d:?\d\d)$", "", text)
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None


def numbers(cell: str) -> list[float] | list[list[float]] | None:
    """The list of numbers, or of equally long lists, that a cell says in brackets: `[0.1, 2]`, `[[1, 2], [3, 4]]`."""
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        try:  # as numpy prints them: [0.1 2.0]
            value = json.loads(re.sub(r"(?<=[\d.])\s+(?=[-+\d.])", ", ", text))
        except (json.JSONDecodeError, RecursionError):
            return None
    if _is_row(value):
        return [float(x) for x in value]
    if value and all(_is_row(row) and len(row) == len(value[0]) for row in value):
        return [[float(x) for x in row] for row in value]
    return None


def _is_row(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(x) in {int, float} for x in value)
