"""Calibration on val: a temperature (Guo et al. 2017), a scale and shift for each class, or isotonic curves

    p = softmax(z / T);   p = softmax(s * z + b);   p_c proportional to f_c(softmax(z)_c), f_c rising

A temperature leaves the most probable class as it is. It is fitted to targets softened by one row in all of val
(after Platt 1999), for val has been chosen on: where all its rows are right, none should be certain. The others are taken
where they predict val rows that they were not fitted on better, by the log loss, and cost no accuracy there. None is where
these rows are predicted no better than without.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.models import calibration
from mmcli.optimizations import Candidate, Optimization, Workbench
from mmcli.tasks import Task

FOLDS = 5
LEAST_ROWS = 30
"""Val rows for each class, on average, below which only a temperature is tried."""


class Config(BaseConfig):
    """What is tried, and where the temperature is sought."""

    method: Literal["auto", "temperature", "vector", "isotonic"] = "auto"
    """`auto`: the best by cross-validation."""
    lowest: float = Field(0.05, gt=0)
    """Smallest temperature that the model may have in the end."""
    highest: float = Field(20.0, gt=0)
    """Largest temperature that the model may have in the end."""


class Calibrate(Optimization):
    """Kept if the log loss on val falls, of rows that it was fitted on and of others."""

    family: ClassVar[Literal["accuracy"]] = "accuracy"
    for_folds = True
    config: Config
    _held: float = float("inf")
    """The log loss of val rows that the calibration which was proposed was not fitted on."""

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        return bench.dataset.task.lacks("calibration")

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        task, outputs, targets = bench.dataset.task, bench.val_outputs(candidate.network), bench.dataset.targets[bench.judged]
        before = candidate.network.fusion_head.made_at
        method = self._choose(outputs, targets, task, before)
        bench.extra["method"] = method
        self._held = self._held_out(outputs, targets, task, before, method)
        calibrated = copy.deepcopy(candidate.network)
        recipe = candidate.recipe
        if method == "temperature":
            calibrated.fusion_head.temperature *= self._temperature(outputs, targets, task, before)
        else:
            layer = calibration.KINDS[method].fitted(outputs, task.parted(targets)[0], task.pressing(targets))
            calibrated.calibration = layer.to(bench.compute.device)
            kind, shape = calibration.described(layer)
            recipe = replace(recipe, calibration=kind, calibration_shape=shape)
        yield Candidate(f"{candidate.name}, calibrated", calibrated, recipe)

    def improves(self, before: Tensor, after: Tensor, bench: Workbench) -> bool:
        """The log loss falls, on rows that it was fitted on and on others, and the primary metric does not."""
        (score, minus_loss), (score_before, minus_loss_before) = bench.val_rank(after), bench.val_rank(before)
        return score >= score_before - 1e-9 and minus_loss > minus_loss_before and self._held < -minus_loss_before

    def _choose(self, outputs: Tensor, targets: Tensor, task: Task, before: float) -> str:
        if task.lacks("calibration by class") or outputs.shape[1] < 2:
            return "temperature"
        if self.config.method != "auto":
            return self.config.method
        if len(targets) < LEAST_ROWS * outputs.shape[1]:
            return "temperature"
        methods = ("temperature", *calibration.KINDS)
        return min(methods, key=lambda method: self._held_out(outputs, targets, task, before, method))

    def _held_out(self, outputs: Tensor, targets: Tensor, task: Task, before: float, method: str) -> float:
        """The log loss of val rows, each calibrated by what the others say; infinite where there are no others."""
        if len(targets) < 2:
            return float("inf")
        found = torch.empty_like(outputs)
        for held in torch.randperm(len(targets), generator=torch.Generator().manual_seed(0)).chunk(FOLDS):
            kept = torch.ones(len(targets), dtype=torch.bool)
            kept[held] = False
            if method == "temperature":
                found[held] = outputs[held] / self._temperature(outputs[kept], targets[kept], task, before)
            else:
                right, pressing = task.parted(targets[kept])[0], task.pressing(targets[kept])
                found[held] = calibration.KINDS[method].fitted(outputs[kept], right, pressing)(outputs[held])
        return task.score(found, targets)["loss"]

    def _temperature(self, outputs: Tensor, targets: Tensor, task: Task, before: float) -> float:
        return calibration.temperature(outputs, targets, task, before, self.config.lowest, self.config.highest)
