"""Teaching one fused model by another's outputs (Hinton et al. 2015), or by the texts that it writes (sequence-level knowledge
distillation, Kim and Rush 2016), encoders and fusion together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.data.dataset import Dataset
from mmcli.jobs import joint
from mmcli.models.networks import FusedModel, Output
from mmcli.signals import Batch
from mmcli.tasks import Task
from mmcli.training.config import TrainingConfig
from mmcli.training.device import Compute
from mmcli.training.job import Job, Step

TEMPERATURE = 2.0
TARGETS = 0.3
"""Weight of the targets themselves beside the teacher's outputs; of texts the share of rows that learn their own."""


def job(
    student: FusedModel,
    teacher: Tensor,
    dataset: Dataset,
    config: TrainingConfig,
    compute: Compute,
    *,
    seed: int,
    folder: Path,
    label: str,
    encoder_rate: float,
    watch: Callable[[list[dict[str, float]]], bool],
) -> Job:
    """The job that trains the student on the teacher's outputs [N, num_outputs] for all rows, and on the targets; or, where
    answers are texts, on those that it wrote, as targets [N, L]."""
    config = config.model_copy(update={"auxiliary": 0.0})
    made = joint.job(
        student,
        {},
        dataset,
        config,
        compute,
        seed=seed,
        folder=folder,
        label=label,
        encoder_rate=encoder_rate,
        watch=watch,
    )
    return replace(made, step=_Step(made.step, student, teacher.to(compute.device)))


class _Step(Step):
    """A student that is taught what to answer, by outputs for all rows and by the targets."""

    def __init__(self, step: Step, network: FusedModel, taught: Tensor) -> None:
        super().__init__(step.module)
        self.student = step
        self.network = network
        self.taught = taught

    def outputs(self, batch: Batch) -> Any:
        return self.student.outputs(batch)

    def forward(self, batch: Batch) -> Tensor:
        output: Output = self.network(batch.inputs)
        if not self.network.task.outputs.decides:
            theirs = torch.rand(len(batch.targets), 1, device=batch.targets.device) >= TARGETS
            targets = torch.where(theirs, self.taught[batch.row_ids], batch.targets)
            return self.network.fusion_head.loss(output, targets)
        own = self.network.fusion_head.loss(output, batch.targets)
        pressing = self.network.task.pressing(batch.targets)
        theirs = divergence(output.outputs, self.taught[batch.row_ids], self.network.task, pressing)
        return TARGETS * own + (1 - TARGETS) * theirs


def divergence(outputs: Tensor, teacher: Tensor, task: Task, weights: Tensor | None = None) -> Tensor:
    """How far outputs are from the teacher's: cross-entropy of softened probabilities, or the squared difference of numbers;
    rows counting as `weights` [B] say, where there are some."""
    width, link = task.decision.width, task.decision.link
    own, right = outputs.float()[:, :width], teacher.float()[:, :width]
    how = "mean" if weights is None else "none"
    if link == "softmax":
        softened = (right / TEMPERATURE).softmax(1)
        far = F.cross_entropy(own / TEMPERATURE, softened, reduction=how) * TEMPERATURE**2
    elif link == "sigmoid":
        far = F.binary_cross_entropy_with_logits(own, torch.sigmoid(right), reduction=how)
    else:
        far = F.mse_loss(own, right, reduction=how)
    return far if weights is None else (far.reshape(len(far), -1).mean(1) * weights).mean()
