"""Structured pruning: the weakest half of the channels between two layers of a block is cut out, and the rest tuned again

Channels that only the next layer of the same block reads can go without anything else noticing: those between the two
convolutions of a residual block. Their rank is the sum of the absolute weights that lead
to them times those that lead away (Li et al. 2017).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.jobs import student as student_job
from mmcli.jobs.joint import narrowed
from mmcli.layers.residual import ResidualBlock
from mmcli.models.forward import outputs_for
from mmcli.models.in_context import unaware
from mmcli.models.networks import settle
from mmcli.optimizations import BY_HEART, Candidate, Optimization, Workbench
from mmcli.training.config import TrainingConfig
from mmcli.training.device import seed_everything
from mmcli.training.loop import train

TRAINING = {"epochs": 12, "learning_rate": 5e-4, "batch_size": 64, "weight_decay": 0.05, "patience": 5}
BASIC = ("conv1", "bn1", "conv2")
"""What the inner layers of a basic block of other libraries' residual networks are called."""


class Config(BaseConfig):
    """How much."""

    share: float = Field(0.5, gt=0, lt=1)
    """Share of the channels that is cut out."""


class Prune(Optimization):
    """The network, narrower inside its blocks."""

    family: ClassVar[Literal["smaller"]] = "smaller"
    trains = True
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        if not any(inner_layers(module) for module in candidate.network.modules()):
            return "no blocks to narrow"
        return "" if unaware(candidate.network) else BY_HEART

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        seed_everything(bench.seed)
        slim = copy.deepcopy(candidate.network)
        bench.extra["channels"] = narrow(slim, self.config.share)
        dataset = bench.dataset
        teaching, taught = unaware(candidate.network), unaware(slim)
        assert teaching is not None, BY_HEART
        assert taught is not None, BY_HEART
        teacher = outputs_for(teaching, dataset, torch.arange(len(dataset.rows)), bench.compute)
        job = student_job.job(
            taught,
            teacher,
            dataset,
            TrainingConfig.of(bench.settings, **TRAINING, modality_dropout=candidate.recipe.modality_dropout),
            bench.compute,
            seed=bench.seed,
            folder=bench.folder,
            label="prune",
            encoder_rate=1.0,
            watch=lambda _: time.monotonic() > bench.deadline,
        )
        with narrowed(taught):
            bench.extra["epochs"] = len(train(job, bench.console).history)
        outputs = bench.val_outputs(slim) * slim.fusion_head.temperature.cpu()
        settle(slim.fusion_head, outputs, dataset.targets[dataset.splits["val"]])
        yield Candidate("pruned", slim.eval(), replace(candidate.recipe, slim=True))


def inner_layers(block: nn.Module) -> tuple[nn.Module, nn.Module, nn.Module] | None:
    """Of a block with channels of its own inside: the layer that makes them, their normalisation, the layer that reads them."""
    if isinstance(block, ResidualBlock):
        return block.conv1, block.norm2, block.conv2
    if type(block).__name__ == "BasicBlock" and all(hasattr(block, name) for name in BASIC):
        first, norm, second = (getattr(block, name) for name in BASIC)
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d) and first.groups == second.groups == 1:
            return first, norm, second
    return None


@torch.no_grad()
def narrow(network: nn.Module, share: float) -> int:
    """Cuts that share of the inner channels of every block; gives how many went."""
    gone = 0
    for block in list(network.modules()):
        layers = inner_layers(block)
        if layers is None:
            continue
        first, norm, second = layers
        made: Tensor = first.weight  # type: ignore[assignment]
        read: Tensor = second.weight  # type: ignore[assignment]
        strength = made.abs().flatten(1).sum(1) * read.abs().transpose(0, 1).flatten(1).sum(1)
        kept = strength.argsort(descending=True)[: max(int(len(strength) * (1 - share)), 1)].sort().values
        gone += len(strength) - len(kept)
        first.weight = nn.Parameter(made[kept].clone(memory_format=torch.preserve_format))
        second.weight = nn.Parameter(read[:, kept].clone(memory_format=torch.preserve_format))
        for name, tensor in [*norm.named_parameters(), *norm.named_buffers()]:
            if tensor.dim() == 1:
                own = tensor[kept].clone()
                setattr(norm, name, nn.Parameter(own) if isinstance(tensor, nn.Parameter) else own)
    return gone
