"""JSON as it is written down: null for what is no number or endless, since RFC 8259 knows neither; and such nulls read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

SCORES = frozenset({"train", "val", "test", "alone", "out_of_fold"})
"""What scores stand under: a null below is no number."""
SIDES = ("value", "low", "high")
"""What an interval is made of."""


def text(value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    """The value as strict JSON, non-ASCII letters as they are; on one line unless it is indented.

    Raises:
        TypeError: it holds what JSON has no form for, and `default` makes none of it.
    """
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=indent, default=default)


def plain(value: Any) -> Any:
    """The same with None for each float that is not finite, at any depth; as it is where there is none."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [plain(own) for own in value]
    return value


def numbers(value: Any, scores: bool = False) -> Any:
    """What was read of such JSON, with `nan` for the nulls of scores and of intervals: those below a name of `SCORES`, and the
    sides of an interval. Other nulls stay."""
    if isinstance(value, dict):
        sides = SIDES if set(SIDES) <= set(value) else ()
        return {
            key: numbers(own, scores or key in SCORES) if own is not None else math.nan if scores or key in sides else None
            for key, own in value.items()
        }
    if isinstance(value, list):
        return [math.nan if own is None and scores else numbers(own, scores) for own in value]
    return value
