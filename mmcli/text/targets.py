"""Right texts as targets: unit ids side by side in one tensor, padded, and back; and how any text is judged by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mmcli.reporting import text_metrics
from mmcli.reporting.metrics import Array
from mmcli.text.units import Units

Judge = Callable[[int, list[int]], Array]
"""What a row (by its place) with such a text adds to the sums behind a metric."""


def padded(ids: Sequence[Sequence[int]], least: int = 1, device: torch.device | None = None) -> Tensor:
    """int64 [N, L], padded with -1 to the longest, and to `least` at any rate."""
    found = torch.full((len(ids), max([least, *map(len, ids)])), -1, dtype=torch.int64, device=device)
    for row, own in enumerate(ids):
        found[row, : len(own)] = torch.tensor(own, dtype=torch.int64)
    return found


def unpadded(targets: Tensor) -> list[list[int]]:
    """The reverse of `padded`."""
    return [[unit for unit in row if unit >= 0] for row in targets.tolist()]


def judging(
    right: Sequence[Sequence[int]], units: Units, metric: str, tokenizer: text_metrics.Tokenizer
) -> tuple[Judge, Callable[[Array], float]]:
    """What each row with a text adds to the sums of a metric, each pair looked at once; and what is minimised of them."""
    texts, (measure, higher) = [units.text(ids) for ids in right], text_metrics.TEXT[metric]
    known: dict[tuple[int, tuple[int, ...]], Array] = {}

    def judge(row: int, ids: list[int]) -> Array:
        key = row, tuple(ids)
        if key not in known:
            known[key] = text_metrics.sums([units.text(ids)], [texts[row]], tokenizer)[0]
        return known[key]

    def cost(rows: Array) -> float:
        return float(measure(rows, rows, np.ones((1, len(rows))))[0]) * (-1 if higher else 1)

    return judge, cost
