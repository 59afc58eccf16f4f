"""End-to-end fine-tuning: encoders, fusion and head together, the encoders at a lower rate, weights averaged and souped

It is tried for few epochs first: where by then neither the loss on val is lower by a fiftieth nor the metric better, it ends
there, so that asking costs little. Encoders that were trained apart know their own column's part in the target; where the
target lies in how columns go together, training through is what teaches them the rest. After training, weights on the line
from those before to those after are tried on val (WiSE-FT, Wortsman et al. 2022), and the best of them taken: a soup of the
two.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field

from mmcli.config import Config as BaseConfig
from mmcli.jobs import joint
from mmcli.models.in_context import unaware
from mmcli.models.networks import FusedModel, settle
from mmcli.optimizations import BY_HEART, Candidate, Optimization, Workbench
from mmcli.training.config import TrainingConfig
from mmcli.training.device import seed_everything
from mmcli.training.loop import train

TRAINING = {"epochs": 20, "learning_rate": 5e-4, "batch_size": 64, "weight_decay": 0.05, "patience": 6}
SHARES = (0.25, 0.5, 0.75, 1.0)
LOWER = 0.02
"""As a share of its loss on val before, how much lower it is to be after few epochs, to go on. On emoji, where it did not pay,
the loss was a hundredth lower by then and higher ever after."""


class Config(BaseConfig):
    """How gently."""

    encoder_rate: float = Field(0.3, gt=0, le=1)
    """Learning rate of the encoders, as a share of that of fusion and head."""
    soup: bool = True
    """Whether weights between those before and those after are tried."""
    tries: int = Field(3, ge=0)
    """Epochs after which it goes on only where val was better in one of them, by metric or a fiftieth of its loss; 0: it
    always does."""


class Finetune(Optimization):
    """Kept if the primary metric on val is better beyond noise."""

    family: ClassVar[Literal["accuracy"]] = "accuracy"
    trains = True
    for_any_answer = True
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        return "" if unaware(candidate.network) else BY_HEART

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        seed_everything(bench.seed)
        tuned = copy.deepcopy(candidate.network)
        begun, learning = unaware(candidate.network), unaware(tuned)
        assert begun is not None, BY_HEART
        assert learning is not None, BY_HEART
        heads = learning.fusion_head
        training = TrainingConfig.of(bench.settings, **TRAINING, modality_dropout=heads.modality_dropout)
        heads.modality_dropout = training.modality_dropout
        before, task = bench.val_score(bench.val_outputs(begun)), bench.dataset.task
        sign = 1 if task.primary_higher_is_better else -1

        def in_vain(history: list[dict[str, float]]) -> bool:
            gains = [sign * (row[f"val_{task.primary_metric}"] - before[task.primary_metric]) for row in history]
            lower = min(row["val_loss"] for row in history) < before["loss"] - LOWER * abs(before["loss"])
            return len(history) == self.config.tries and not lower and max(gains) <= 0

        job = joint.job(
            learning,
            {name: copy.deepcopy(bench.heads[name]) for name in learning.names if name in bench.heads},
            bench.dataset,
            training,
            bench.compute,
            seed=bench.seed,
            folder=bench.folder,
            label="finetune",
            encoder_rate=self.config.encoder_rate,
            watch=lambda history: time.monotonic() > bench.deadline or in_vain(history),
        )
        with joint.narrowed(learning):
            trained = train(job, bench.console)
        bench.extra["epochs"] = len(trained.history)
        if in_vain(trained.history):
            bench.extra["reason"] = f"after {len(trained.history)} epoch{'s' * (len(trained.history) > 1)} val is no better"
            return
        share, chosen = 1.0, tuned
        if self.config.soup:
            soups = {own: souped(candidate.network, tuned, own) for own in SHARES}
            share = max(SHARES, key=lambda own: bench.val_rank(bench.val_outputs(soups[own])))
            chosen = soups[share]
        bench.extra["share"] = share
        outputs = bench.dataset.task.outputs.tempered(bench.val_outputs(chosen), 1 / chosen.fusion_head.temperature.cpu())
        settle(chosen.fusion_head, outputs, bench.dataset.targets[bench.dataset.splits["val"]])
        yield Candidate(f"{candidate.name}, fine-tuned", chosen, candidate.recipe)


@torch.no_grad()
def souped(before: FusedModel, after: FusedModel, share: float) -> FusedModel:
    """`share` of the weights after, the rest from before; what is no number is from after."""
    mixed = copy.deepcopy(after)
    own = before.state_dict()
    for name, tensor in mixed.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.lerp(own[name].to(tensor.device), tensor, share))
    return mixed
