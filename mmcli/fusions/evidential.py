"""Evidential: each column gives evidence for each class, and Dempster's rule joins it (TMC, Han et al. 2021, eq. 3 to 9).

    e_m = softplus(E_m LN(x_m));   alpha_m = e_m + 1;   S_m = sum alpha_m;   belief b_m = e_m / S_m, doubt u_m = C / S_m
    joined:  b = (b_1 b_2 + b_1 u_2 + b_2 u_1) / (1 - conflict),  u = u_1 u_2 / (1 - conflict);   p = b + u / C

Absent columns have no evidence (u = 1). To the loss the evidential losses of each column and of the whole are added: the
expected cross-entropy under the Dirichlet, and its divergence from the uniform one for wrong classes, growing over `anneal`
steps. For classes only. The weights shown are shares of the certainties 1 - u_m. Parameters: sum_m (2 D_m + (D_m + 1) C).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError
from mmcli.fusions import Decision, Fusion, stacked, usable
from mmcli.layers.blocks import Projections
from mmcli.signals import Features, Fused

ABOUT = {
    "family": "decision",
    "absent": "masked",
    "ordered": False,
    "cost": "M D C",
    "use": "classes, and a wish to know how sure each column is",
}


class Config(BaseConfig):
    """How evidence is learnt."""

    anneal: int = Field(300, ge=1)
    """Steps over which the penalty on misleading evidence grows to its full weight."""
    weight: float = Field(0.3, ge=0)
    """Weight of the evidential losses beside the task's own."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the features."""


class Evidential(Fusion):
    """Subjective opinions, combined."""

    def __init__(self, config: Config, dims: Mapping[str, int], decision: Decision) -> None:
        if decision.link != "softmax":
            raise ConfigError("evidential fusion is for targets that are classes", "Use --method poe or late for others.")
        super().__init__(dims, decision.width)
        self.config = config
        self.project = Projections(list(dims.values()), decision.width, config.dropout)
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @staticmethod
    def parameter_formula(config: Config, dims: Mapping[str, int], decision: Decision) -> int:  # type: ignore[override]  # noqa: ARG004
        return Projections.parameter_formula(dims.values(), decision.width)

    def forward(self, features: Mapping[str, Features]) -> Fused:
        pooled, present_BM = stacked(features, self.columns)
        evidence_BMC = F.softplus(self.project(pooled).float()) * usable(present_BM)[..., None]
        classes = evidence_BMC.shape[2]
        strength_BM = evidence_BMC.sum(2) + classes
        belief, doubt = evidence_BMC[:, 0] / strength_BM[:, :1], classes / strength_BM[:, :1]
        for m in range(1, len(self.columns)):
            belief, doubt = combined(
                belief, doubt, evidence_BMC[:, m] / strength_BM[:, m, None], classes / strength_BM[:, m, None]
            )
        logits = (belief + doubt / classes).clamp(min=1e-6).log()
        certain_BM = (1 - classes / strength_BM) * usable(present_BM)
        weights = certain_BM / certain_BM.sum(1, keepdim=True).clamp(min=1e-9)
        alpha = belief * classes / doubt + 1
        return Fused(logits, weights=weights, logits=logits, extras={"each": evidence_BMC + 1, "whole": alpha})

    def penalty(self, fused: Fused, targets: Tensor, weights: Tensor | None = None) -> Tensor | None:
        if self.training:
            self.steps += 1
        growing = (self.steps.double() / self.config.anneal).clamp(max=1.0)
        whole = evidential_loss(fused.extras["whole"], targets, growing, weights)
        each_BMC = fused.extras["each"]
        each = sum(evidential_loss(each_BMC[:, m], targets, growing, weights) for m in range(each_BMC.shape[1]))
        return self.config.weight * (whole + each) / (1 + each_BMC.shape[1])


def combined(belief: Tensor, doubt: Tensor, other: Tensor, other_doubt: Tensor) -> tuple[Tensor, Tensor]:
    """Dempster's rule of two opinions: beliefs [B, C] and doubts [B, 1]."""
    conflict = belief.sum(1, keepdim=True) * other.sum(1, keepdim=True) - (belief * other).sum(1, keepdim=True)
    scale = 1 / (1 - conflict).clamp(min=1e-6)
    return scale * (belief * other + belief * other_doubt + other * doubt), scale * doubt * other_doubt


def evidential_loss(alpha_BC: Tensor, targets: Tensor, growing: Tensor, weights: Tensor | None = None) -> Tensor:
    """The expected cross-entropy under Dirichlet(alpha), and `growing` times its divergence on wrong classes: the mean over
    the rows, each times its weight where it has one."""
    right = F.one_hot(targets, alpha_BC.shape[1]).to(alpha_BC.dtype)
    strength = alpha_BC.sum(1, keepdim=True)
    fit = (right * (torch.digamma(strength) - torch.digamma(alpha_BC))).sum(1)
    wrong = right + (1 - right) * alpha_BC
    total, classes = wrong.sum(1), float(alpha_BC.shape[1])
    divergence = torch.lgamma(total) - torch.lgamma(torch.tensor(classes)) - torch.lgamma(wrong).sum(1)
    divergence = divergence + ((wrong - 1) * (torch.digamma(wrong) - torch.digamma(total[:, None]))).sum(1)
    losses = fit + growing * divergence / classes
    return losses.mean() if weights is None else (losses * weights).mean()
