"""Whether numbers are skewed so that a log scale suits them better. Knows not what they are of."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
SKEWED = 1.0
"""Skewness from which a log scale is looked at; it must at least halve it."""


def skewness(values: Array) -> float:
    """The third standardised moment."""
    centred = values - values.mean()
    return float((centred**3).mean() / max(centred.std() ** 3, 1e-300))


def eased(before: float, after: float) -> bool:
    """Whether numbers are skewed to the right, and on a log scale at most half as much, by the skewness on either."""
    return before >= SKEWED and abs(after) <= before / 2
