"""Log-odds from a few measurements that speak for the same thing: a logistic regression whose weights are none below zero."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STRENGTH = 1.0
"""Rows that the penalty counts as: of few rows, none is believed more than the others."""


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
