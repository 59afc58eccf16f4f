"""Whether columns that share an encoder are alike: the cosine of their features, and log-odds from a few such measurements."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.signals import Features

STRENGTH = 1.0
"""Rows that the penalty counts as: of few rows, none is believed more than the others."""


def grey_pixels(grid_BCHW: Tensor, side: int) -> Tensor:
    """[B, side^2]: the mean of the channels at `side` x `side`, less its own mean, of length one."""
    small = F.adaptive_avg_pool2d(grid_BCHW.float().mean(1, keepdim=True), side).flatten(1)
    return F.normalize(small - small.mean(1, keepdim=True), dim=1)


def cosines(features: Sequence[Features]) -> tuple[Tensor, Tensor]:
    """[B]: the mean cosine of the pooled features of every two that are there; and bool [B]: whether there are two."""
    total = torch.zeros_like(features[0].pooled[:, 0], dtype=torch.float32)
    pairs = torch.zeros_like(total)
    for one, other in combinations(features, 2):
        both = (one.present & other.present).float()
        alike = (F.normalize(one.pooled.float(), dim=1) * F.normalize(other.pooled.float(), dim=1)).sum(1)
        total = total + both * alike
        pairs = pairs + both
    return total / pairs.clamp(min=1), pairs > 0


def fitted(measured: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Weights float64 [K], none below zero, and the shift [] with which `measured @ weights + shift` are the log-odds that a
    row is right, of rows [N, K] and bool [N]; in units of one deviation each, the penalty is |weights|^2 STRENGTH / N.

    Where all rows are right, or none, or nothing is measured, the weights are zero."""
    from scipy.optimize import minimize

    x, y = measured.double().cpu().numpy(), right.cpu().numpy().astype(bool)
    if not x.shape[1] or y.all() or not y.any():
        share = (y.sum() + 1) / (len(y) + 2)
        return torch.zeros(x.shape[1], dtype=torch.float64), torch.tensor(np.log(share / (1 - share)))
    mean, deviation = x.mean(0), np.maximum(x.std(0), 1e-6)
    scaled, sign, penalty = (x - mean) / deviation, np.where(y, 1.0, -1.0), STRENGTH / len(y)

    def loss(own: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (scaled @ own[1:] + own[0])
        slope = -sign / (1 + np.exp(np.clip(margin, -50, 50)))
        gradient = np.concatenate([[slope.mean()], (scaled * slope[:, None]).mean(0) + 2 * penalty * own[1:]])
        return float(np.logaddexp(0, -margin).mean() + penalty * np.square(own[1:]).sum()), gradient

    start = np.concatenate([[0.0], np.ones(x.shape[1])])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(None, None)] + [(0.0, None)] * x.shape[1]).x
    weights = found[1:] / deviation
    return torch.from_numpy(weights), torch.tensor(found[0] - float(mean @ weights), dtype=torch.float64)
