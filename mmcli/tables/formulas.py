"""Cells that a spreadsheet would run as formulas, once a CSV is opened in it. Owns what such a cell looks like, and what is put
before it; writes no file."""

from __future__ import annotations

import re
from collections.abc import Hashable

import pandas as pd

from mmcli.tables.written import written

_STARTS = "=+-@\t\r\n＝＋－＠"
"""What makes a spreadsheet take a cell for a formula, or reaches one that does (OWASP, CSV Injection)."""
_FIGURES = re.compile(r"[+\-＋－]?[\s$€£¥￥₹₩]*\d+([\s.,'’]\d+)*[.,]?\s*[%‰$€£¥￥₹₩]?")
"""A number in any country's hand: it is worth keeping as it is, and computes nothing."""


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet may run it: it begins as formulas do, goes on, and is no number."""
    if cell[:1] not in _STARTS or len(cell) < 2:
        return False
    return not _FIGURES.fullmatch(cell.strip()) and written(cell) is None


def guarded(cell: str) -> str:
    """The cell, with an apostrophe before it if it would be run: spreadsheets show what follows as text."""
    return f"'{cell}" if is_formula(cell) else cell


def guarded_frame(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The frame with its texts and its header guarded, and how many cells that changed."""
    changed: dict[Hashable, pd.Series] = {}
    count = 0
    for name, column in frame.items():
        if not (pd.api.types.is_object_dtype(column.dtype) or isinstance(column.dtype, pd.StringDtype)):
            continue
        found = column.map(lambda cell: isinstance(cell, str) and is_formula(cell)).astype(bool)
        if found.any():
            count += int(found.sum())
            changed[name] = column.mask(found, "'" + column.where(found, "").astype(str))
    names = [guarded(str(name)) for name in frame.columns]
    count += sum(new != str(old) for new, old in zip(names, frame.columns, strict=True))
    safe = frame.assign(**{str(name): column for name, column in changed.items()}) if changed else frame
    return safe.set_axis(names, axis=1), count
