"""Cells that a spreadsheet would run as formulas, once a CSV is opened in it. Owns what such a cell looks like, and what is put
before it; writes no file. Plain, since exported models guard what they write, too."""

from __future__ import annotations

import re

from mmcli.tables.numbers import is_infinite
from mmcli.tables.written import written

_STARTS = "=+-@\t\r\n＝＋－＠"
"""What makes a spreadsheet take a cell for a formula, or reaches one that does (OWASP, CSV Injection)."""
_FIGURES = re.compile(r"[+\-＋－]?[\s$€£¥￥₹₩]*\d+([\s.,'’]\d+)*[.,]?\s*[%‰$€£¥￥₹₩]?")
"""A number in any country's hand: it is worth keeping as it is, and computes nothing."""


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet may run it: it begins as formulas do, goes on, and is no number."""
    if cell[:1] not in _STARTS or len(cell) < 2:
        return False
    return not _FIGURES.fullmatch(cell.strip()) and written(cell) is None and not is_infinite(cell)


def guarded(cell: str) -> str:
    """The cell, with an apostrophe before it if it would be run: spreadsheets show what follows as text."""
    return f"'{cell}" if is_formula(cell) else cell
