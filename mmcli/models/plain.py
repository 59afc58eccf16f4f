"""The plain model as a member of a fused one: encoders that give decisions, added up. Nothing is fused or learnt here.

    decision = bias + sum over inputs m of x_m W_m,   x_m what a linear model reads of an input (encoders `plain` and `bag`)

An encoder's features are its input's term; an absent input has a term of its own. It stands in a recipe as a method, but is
none of those that users choose from: what it adds up must be solved for it (`jobs.plain`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from mmcli.fusions import Family, Fusion
from mmcli.heads import Decisions
from mmcli.models.networks import FusionHead
from mmcli.signals import Features, Fused
from mmcli.tasks import Task

METHOD = "plain"
"""What a recipe calls it."""
TREES = "trees"
"""What it calls boosted trees, whose decision is one term (`models.trees`)."""
IN_CONTEXT = "in-context"
"""What it calls a tabular foundation model, whose decision is one term (`models.in_context`)."""
TERMS = (METHOD, TREES, IN_CONTEXT)
"""All whose decisions are terms that add up."""


class Sum(Fusion):
    """Terms that add up to decisions, as wide as these. Parameters: C, the bias."""

    family: ClassVar[Family] = "feature"
    order_sensitive: ClassVar[bool] = False
    absent_inputs: ClassVar[Literal["embedding", "masked"]] = "embedding"

    def __init__(self, dims: Mapping[str, int], width: int) -> None:
        super().__init__(dims, width)
        if set(dims.values()) - {width}:
            raise ValueError(f"terms of decisions that are {width} numbers wide are as wide, not {sorted(set(dims.values()))}")
        self.bias = nn.Parameter(torch.zeros(width))

    @staticmethod
    def parameter_formula(config: Any, dims: Mapping[str, int]) -> int:  # noqa: ARG004 - nothing to choose
        return next(iter(dims.values()))

    def forward(self, features: Mapping[str, Features]) -> Fused:
        logits = torch.stack([features[name].pooled.float() for name in self.columns]).sum(0) + self.bias
        return Fused(logits, logits=logits)


def build(dims: Mapping[str, int], sources: Mapping[str, str], task: Task) -> FusionHead:
    """The member over encoders of those widths, freshly initialised."""
    return FusionHead(Sum(dims, task.decision.width), Decisions(task), dims, sources)
