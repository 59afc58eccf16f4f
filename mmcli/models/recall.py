"""Known texts as a member of a model that writes: those of the train rows whose inputs are most alike, recited. Nothing is
learnt here.

    cos = sum over inputs m of s_m cos(x_m P_m, x_m P_m of each train row),   w = (cos - t) / h

x_m is what a linear model reads of an input (encoders `plain` and `bag`), P_m a projection drawn at random, which keeps angles
(Johnson and Lindenstrauss 1984). The K texts of the largest cosines, with their weights w, are what `text.reciter` looks at. It
stands in a recipe as a method, but is none of those that users choose from: `jobs.recalling` fills it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.fusions import Family, Fusion
from mmcli.heads import Writes
from mmcli.models.networks import FusionHead
from mmcli.signals import Features, Fused
from mmcli.tasks import Task
from mmcli.text.reciter import Reciter, remembered, sizes

METHOD = "recall"
"""What a recipe calls it."""
TEXTS, UNITS, BEAM = 8, 4096, 4
"""K, the units that they may come to in all, else K is less, and the hypotheses of a beam over them."""
STEPS = 10_000.0
"""Cosines are told apart by so many steps: what differs by rounding alone is equal, and rows that are the same are."""


class Keys(Fusion):
    """Vectors side by side, each brought to length one and then to the root of its share: their dot product with another
    row's is the mean of the cosines. An absent input is zeros. Parameters: 0."""

    family: ClassVar[Family] = "feature"
    order_sensitive: ClassVar[bool] = False
    absent_inputs: ClassVar[Literal["embedding", "masked"]] = "embedding"

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__(dims, sum(dims.values()))
        self.shares: Tensor
        self.register_buffer("shares", torch.full((len(dims),), 1 / len(dims)))

    @staticmethod
    def parameter_formula(config: Any, dims: Mapping[str, int]) -> int:  # noqa: ARG004 - nothing to choose
        return 0

    def forward(self, features: Mapping[str, Features]) -> Fused:
        own = [F.normalize(features[name].pooled.float(), dim=1) for name in self.columns]
        keys = torch.cat([each * share for each, share in zip(own, self.shares.sqrt(), strict=True)], 1)
        return Fused(keys)


class Recall(Writes):
    """Keys -> the texts of the train rows that are most alike, recited. Parameters: 0."""

    def __init__(self, task: Task, dim: int, rows: int, longest: int) -> None:
        super().__init__(task, dim, Reciter(sizes(task.width)), BEAM)  # type: ignore[attr-defined]
        self.keys: Tensor
        self.texts: Tensor
        self.threshold: Tensor
        self.heat: Tensor
        self.register_buffer("keys", torch.zeros(rows, dim))
        self.register_buffer("texts", torch.full((rows, longest), -1, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("heat", torch.ones(()))

    @staticmethod
    def parameter_formula(config: Any, task: Task, dim: int) -> int:  # noqa: ARG004 - nothing to choose
        return 0

    def memory(self, fused: Fused) -> tuple[Tensor, Tensor, Tensor]:
        cosines = (fused.pooled.float() @ self.keys.T * STEPS).round() / STEPS
        count = min(TEXTS, max(UNITS // self.texts.shape[1], 1), len(self.keys))
        index = _most(cosines, count).sort(1).values
        texts = self.texts[index].long()
        memory, mask = remembered(texts, (cosines.gather(1, index) - self.threshold) / self.heat)
        return memory, mask, (texts >= 0).sum(2).amax(1)


def _most(cosines_BN: Tensor, count: int) -> Tensor:
    """int64 [B, count]: where the largest are, of equal ones the first: what is taken off for the place is less than a step."""
    places = torch.arange(cosines_BN.shape[1], device=cosines_BN.device)
    return (cosines_BN.double() - places / (2 * STEPS * len(places))).topk(count, dim=1).indices


def build(dims: Mapping[str, int], sources: Mapping[str, str], task: Task, fusion: Mapping[str, Any]) -> FusionHead:
    """The member over encoders of those widths, empty; `fusion` says how many `rows` it remembers, of so many units each
    (`longest`)."""
    keys = Keys(dims)
    return FusionHead(keys, Recall(task, keys.dim, fusion["rows"], fusion["longest"]), dims, sources)
