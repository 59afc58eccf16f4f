"""How much each row counts: encoded targets that hold the weight of their row, and what is read off them again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from mmcli.reporting.metrics import Array
from mmcli.signals import Decision


class Weighed(ABC):
    """A kind of target whose rows may count for more or less than others (--weight), where it says so."""

    weighable: ClassVar[bool] = False
    """Whether they may: see `weigh`."""

    @property
    @abstractmethod
    def decision(self) -> Decision:
        """What of the outputs decides, where they are decisions."""

    @property
    def target_width(self) -> int:
        """How many numbers encoded targets hold of a row, where they are no class: mostly as many as decide."""
        return self.decision.width

    def weigh(self, targets: Tensor, weights: Tensor) -> Tensor:
        """Encoded targets that hold the weight of each row [N] besides, as a last column: float32 [N, K + 1], of classes
        [N, 2]. All that takes targets takes such as well: a row goes nowhere without its weight."""
        rows = targets[:, None] if targets.dim() == 1 else targets
        return torch.cat([rows.float(), weights.float()[:, None]], 1)

    def parted(self, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Targets as `encode` gives them, and the weight of each row [N]; None where they hold no weights."""
        if not self.weighable:
            return targets, None
        classes = self.decision.link == "softmax"
        if targets.dim() == 1 or (not classes and targets.shape[1] == self.target_width):
            return targets, None
        return (targets[:, 0].long() if classes else targets[:, :-1]), targets[:, -1]

    def counting(self, targets: Tensor) -> Array:
        """How much each row counts in metrics: float64 [1, N], ones where targets hold no weights."""
        _, weights = self.parted(targets)
        found: Array = np.ones((1, len(targets))) if weights is None else weights.double().cpu().numpy()[None]
        return found

    def pressing(self, targets: Tensor) -> Tensor | None:
        """How much each row counts in the loss, and in whatever else is fitted, [N]; None where all count alike."""
        return self.parted(targets)[1]

    def balance(self, right: Tensor) -> Tensor | None:  # noqa: ARG002 - of those that have labels
        """How much each label of each row counts in the loss besides, [N, K], by targets without weights; None where all
        count alike."""
        return None
