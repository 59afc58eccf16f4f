"""Lists of numbers in a cell, as JSON and numpy write them. None where a cell says no such thing."""

from __future__ import annotations

import json
import re

_MOST_DIGITS = 300


def numbers(cell: str) -> list[float] | list[list[float]] | None:
    """The list of numbers, or of equally long lists, that a cell says in brackets: `[0.1, 2]`, `[[1, 2], [3, 4]]`."""
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        value = json.loads(text, parse_int=_number)
    except (json.JSONDecodeError, RecursionError):
        try:  # as numpy prints them: [0.1 2.0]
            value = json.loads(re.sub(r"(?<=[\d.])\s+(?=[-+\d.])", ", ", text), parse_int=_number)
        except (json.JSONDecodeError, RecursionError):
            return None
    if _is_row(value):
        return [float(x) for x in value]
    if value and all(_is_row(row) and len(row) == len(value[0]) for row in value):
        return [[float(x) for x in row] for row in value]
    return None


def _number(digits: str) -> int | float:
    """Whole numbers with more digits than a float holds are endless: Python's own would be an error here or later."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _is_row(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(x) in {int, float} for x in value)
