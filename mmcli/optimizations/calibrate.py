"""Temperature scaling (Guo et al. 2017): one number divides the outputs so that probabilities mean what they say.

    p = softmax(z / T), T minimising the log loss on val

The most probable class stays the same, so accuracy does too.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from pydantic import Field

from mmcli.config import Config as BaseConfig
from mmcli.model import outputs_for
from mmcli.networks import FusedModel
from mmcli.optimizations import Optimization, Workbench
from mmcli.tasks import Task


class Config(BaseConfig):
    """Where the temperature is sought."""

    lowest: float = Field(0.05, gt=0)
    """Smallest temperature tried."""
    highest: float = Field(20.0, gt=0)
    """Largest temperature tried."""


class Calibrate(Optimization):
    """Kept if the log loss on val falls."""

    config: Config

    def unfit(self, task: Task) -> str:
        return "" if task.probabilistic else "there are no probabilities to calibrate"

    def apply(self, network: FusedModel, bench: Workbench) -> FusedModel:
        calibrated = copy.deepcopy(network)
        val = bench.dataset.splits["val"]
        outputs = outputs_for(network, bench.dataset, val, bench.compute)
        targets = bench.dataset.targets[val]
        grid = torch.logspace(math.log10(self.config.lowest), math.log10(self.config.highest), 200)
        losses = [bench.dataset.task.score(outputs / temperature, targets)["loss"] for temperature in grid]
        calibrated.fusion_head.temperature *= float(grid[losses.index(min(losses))])
        return calibrated

    def improves(self, before: Mapping[str, float], after: Mapping[str, float], primary: str, higher: bool) -> bool:  # noqa: ARG002
        return after["loss"] < before["loss"]
