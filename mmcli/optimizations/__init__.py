"""Ways to improve a fused model. One file each, found by its name; this file is their contract.

An optimization takes a model and gives another; the stage measures both and keeps the better. It knows nothing of artifacts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mmcli.config import Settings
from mmcli.dataset import Dataset
from mmcli.networks import FusedModel
from mmcli.reporting.console import Console
from mmcli.tasks import Task
from mmcli.training.device import Compute


@dataclass(frozen=True)
class Workbench:
    """What an optimization may work with."""

    dataset: Dataset
    heads: Mapping[str, nn.Module]
    """The encoders' own trained heads, by encoder."""
    settings: Settings
    compute: Compute
    seed: int
    folder: Path
    """Where it may keep checkpoints while it works, and leave its log."""
    console: Console


class Optimization(ABC):
    """One way to improve a fused model."""

    config: Any

    def __init__(self, config: Any) -> None:
        self.config = config

    def unfit(self, task: Task) -> str:  # noqa: ARG002 - most fit any
        """Why it has nothing to do for such targets; empty where it has."""
        return ""

    @abstractmethod
    def apply(self, network: FusedModel, bench: Workbench) -> FusedModel:
        """A new model; `network` stays as it was. Learns from train, chooses on val, never sees test."""

    @abstractmethod
    def improves(self, before: Mapping[str, float], after: Mapping[str, float], primary: str, higher: bool) -> bool:
        """Whether the val metrics after are worth keeping; `primary` is the task's metric."""


Contract = Optimization
__all__ = ["Contract", "Optimization", "Workbench"]
