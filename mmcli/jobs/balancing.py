"""Keeping every column at work while encoders and fusion train together: gradients balanced, features anchored, or aligned.

Each is an option of its own, whatever the fusion method. Knows features and losses; nothing of tables or artifacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.signals import Features, FeatureTable


def balance_factors(losses: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """Factor on each column's gradient, a float64 scalar: below one for a column that is ahead of the others (OGM-GE, Peng et
    al. 2022, eq. 8f).

    s_m = exp(-loss of the column's own head);  rho_m = s_m / mean of the others' s;  k_m = 1 - tanh(strength rho_m) where
    rho_m > 1, else 1. Without the paper's noise.
    """
    scores = {name: torch.exp(-loss.detach()).double() for name, loss in losses.items()}
    factors = {}
    for name, score in scores.items():
        others = [other for key, other in scores.items() if key != name]
        ratio = score / (sum(others, torch.zeros_like(score)) / max(len(others), 1)).clamp(min=1e-9)
        ahead = (ratio > 1) & bool(others)
        factors[name] = torch.where(ahead, 1.0 - torch.tanh((strength * ratio).float()).double(), 1.0)
    return factors


def scaled(features: Features, factor: Tensor) -> Features:
    """The same features, whose gradient is multiplied by `factor` on its way back to the encoder."""
    return replace(features, pooled=_scaled(features.pooled, factor), tokens=_scaled(features.tokens, factor))


def _scaled(values: Tensor, factor: Tensor) -> Tensor:
    return values * factor + (values * (1 - factor)).detach()


@dataclass(frozen=True)
class Teacher:
    """The features of a column's own training, and their variance over the table, which is computed once."""

    features: FeatureTable
    variance: Tensor

    @classmethod
    def of(cls, features: FeatureTable) -> Teacher:
        return cls(features, features.pooled.float().var().clamp(min=1e-6))


def anchored(features: Mapping[str, Features], teachers: Mapping[str, Teacher], rows: Tensor) -> Tensor:
    """How far the columns' features have moved from those of their own training: a mean squared error over present rows, in
    units of the teacher's variance (unimodal teachers, UMT: Du et al. 2021)."""
    total = next(iter(features.values())).pooled.new_zeros((), dtype=torch.float32)
    for name, own in features.items():
        both = own.present & teachers[name].features.present[rows]
        errors = (own.pooled.float() - teachers[name].features.pooled[rows].float()).square()
        total = total + _mean_over(errors, both) / teachers[name].variance
    return total / len(features)


def _mean_over(errors_BD: Tensor, counted_B: Tensor) -> Tensor:
    """The mean over some rows; 0 where there are none. On the host the others are left out; a device would have to be asked
    for them, and waited for: there they are nothing, in a mean by weights."""
    if counted_B.device.type == "cpu":
        kept = errors_BD[counted_B]
        return kept.mean() if len(kept) else errors_BD.new_zeros(())
    total = torch.where(counted_B[:, None], errors_BD, 0.0).sum()
    return total / (counted_B.sum() * errors_BD.shape[1]).clamp(min=1)


def alignment(projected: Mapping[str, Tensor], present: Mapping[str, Tensor], temperature: float = 0.1) -> Tensor:
    """Contrastive loss between every two columns: a row's projections [B, D] are to be nearer each other than to other rows'
    (Radford et al. 2021). Rows that lack either column do not take part."""
    names = list(projected)
    total = projected[names[0]].new_zeros((), dtype=torch.float32)
    pairs = torch.zeros_like(total)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            both = present[one] & present[other]
            if both.device.type != "cpu":  # as in `_mean_over`
                cost, counts = _masked(projected[one], projected[other], both, temperature)
                total, pairs = total + cost, pairs + counts
                continue
            if int(both.sum()) < 2:
                continue
            a, b = (F.normalize(projected[name][both].float(), dim=1) for name in (one, other))
            scores = a @ b.T / temperature
            right = torch.arange(len(scores), device=scores.device)
            total = total + (F.cross_entropy(scores, right) + F.cross_entropy(scores.T, right)) / 2
            pairs = pairs + 1
    return total / pairs.clamp(min=1)


def _masked(one_BD: Tensor, other_BD: Tensor, counted_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The loss of two columns over the rows that count, and 1: both 0 where these are fewer than two."""
    scores = F.normalize(one_BD.float(), dim=1) @ F.normalize(other_BD.float(), dim=1).T / temperature
    right = torch.arange(len(scores), device=scores.device)
    unseen = ~counted_B[None] & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    count = counted_B.sum()
    found = []
    for way in (scores, scores.T):
        each = F.cross_entropy(way.masked_fill(unseen, -torch.inf), right, reduction="none")
        found.append(torch.where(counted_B, each, 0.0).sum() / count.clamp(min=1))
    enough = count > 1
    return torch.where(enough, (found[0] + found[1]) / 2, 0.0), enough.float()
