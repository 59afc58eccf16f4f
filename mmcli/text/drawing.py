"""Where texts are right and wrong: errors by the length of the right text, and by how many of the surest rows are kept."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mmcli.reporting import charts
from mmcli.reporting.metrics import Array, Metric, shown
from mmcli.reporting.svg import Figure

COVERAGE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the rows that are kept."""


def by_length(rows: Array, lengths: Array, metric: Metric, name: str) -> dict[str, tuple[Figure, str]]:
    """The error of four parts of the rows [N, ...], the shorter texts first."""
    edges = sorted(set(np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1]).round().astype(int).tolist()))
    points = []
    for low, high in pairwise([*edges, edges[-1] + 1]):
        inside = (lengths >= low) & (lengths < high)
        if inside.any():
            points.append((float(lengths[inside].mean()), _error(rows[inside], metric)))
    if len(points) < 2:
        return {}
    drawn = charts.curves({name.upper(): points}, "units of the right text", name)
    said = "Errors by the length of the right text: each dot is a part of the rows, the shorter texts first."
    return {"by_length": (drawn, said)}


def by_confidence(rows: Array, confidence: Array, metric: Metric, name: str) -> dict[str, tuple[Figure, str]]:
    """The error of the surest rows, against how many are kept."""
    order = np.argsort(-confidence, kind="stable")
    if len(order) < len(COVERAGE):
        return {}
    counts = sorted({max(round(share * len(order)), 1) for share in COVERAGE})
    errors = [_error(rows[order[:kept]], metric) for kept in counts]
    points = [(kept / len(order), error) for kept, error in zip(counts, errors, strict=True)]
    drawn = charts.curves({name.upper(): points}, "share of the rows kept, the surest first", name)
    said = (
        f"Errors of the rows that are left where the least sure are set aside: {shown(errors[0])} of the surest tenth, "
        f"{shown(errors[(len(errors) - 1) // 2])} of half, {shown(errors[-1])} of all."
    )
    return {"coverage": (drawn, said)}


def _error(rows: Array, metric: Metric) -> float:
    return float(metric(rows, rows, np.ones((1, len(rows))))[0])
