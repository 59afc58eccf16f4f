"""Keeping every column at work while encoders and fusion train together: gradients balanced, features anchored, or aligned.

Each is an option of its own, whatever the fusion method. Knows features and losses; nothing of tables or artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.signals import Features, FeatureTable


def balance_factors(losses: Mapping[str, Tensor], strength: float) -> dict[str, float]:
    """Factor on each column's gradient: below one for a column that is ahead of the others (OGM-GE, Peng et al. 2022, eq. 8f).

    s_m = exp(-loss of the column's own head);  rho_m = s_m / mean of the others' s;  k_m = 1 - tanh(strength rho_m) where
    rho_m > 1, else 1. Without the paper's noise.
    """
    scores = {name: float(torch.exp(-loss.detach())) for name, loss in losses.items()}
    factors = {}
    for name, score in scores.items():
        others = [other for key, other in scores.items() if key != name]
        ratio = score / max(sum(others) / max(len(others), 1), 1e-9) if others else 1.0
        factors[name] = 1.0 - float(torch.tanh(torch.tensor(strength * ratio))) if ratio > 1 else 1.0
    return factors


def scaled(features: Features, factor: float) -> Features:
    """The same features, whose gradient is multiplied by `factor` on its way back to the encoder."""
    if factor == 1.0:
        return features
    return replace(features, pooled=_scaled(features.pooled, factor), tokens=_scaled(features.tokens, factor))


def _scaled(values: Tensor, factor: float) -> Tensor:
    return values * factor + (values * (1 - factor)).detach()


def anchored(features: Mapping[str, Features], teachers: Mapping[str, FeatureTable], rows: Tensor) -> Tensor:
    """How far the columns' features have moved from those of their own training: a mean squared error over present rows, in
    units of the teacher's variance (unimodal teachers, UMT: Du et al. 2021)."""
    total = next(iter(features.values())).pooled.new_zeros((), dtype=torch.float32)
    for name, own in features.items():
        both = own.present & teachers[name].present[rows]
        if both.any():
            target = teachers[name].pooled[rows][both].float()
            scale = teachers[name].pooled.float().var().clamp(min=1e-6)
            total = total + (own.pooled[both].float() - target).square().mean() / scale
    return total / len(features)


def alignment(projected: Mapping[str, Tensor], present: Mapping[str, Tensor], temperature: float = 0.1) -> Tensor:
    """Contrastive loss between every two columns: a row's projections [B, D] are to be nearer each other than to other rows'
    (Radford et al. 2021). Rows that lack either column do not take part."""
    names = list(projected)
    total, pairs = projected[names[0]].new_zeros((), dtype=torch.float32), 0
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            both = present[one] & present[other]
            if int(both.sum()) < 2:
                continue
            a, b = (F.normalize(projected[name][both].float(), dim=1) for name in (one, other))
            scores = a @ b.T / temperature
            right = torch.arange(len(scores), device=scores.device)
            total = total + (F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)) / 2
            pairs += 1
    return total / max(pairs, 1)
