"""End-to-end fine-tuning: encoders, fusion and head together, the encoders at a lower rate, weights averaged."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from pydantic import Field

from mmcli import joint
from mmcli.config import Config as BaseConfig
from mmcli.model import outputs_for
from mmcli.networks import FusedModel, settle
from mmcli.optimizations import Optimization, Workbench
from mmcli.training.device import seed_everything
from mmcli.training.loop import train

TRAINING = {"epochs": 20, "learning_rate": 5e-4, "batch_size": 64, "weight_decay": 0.05, "patience": 6}


class Config(BaseConfig):
    """How gently."""

    encoder_rate: float = Field(0.3, gt=0, le=1)
    """Learning rate of the encoders, as a share of that of fusion and head."""


class Finetune(Optimization):
    """Kept if the primary metric on val rises, or stays while the loss falls."""

    config: Config

    def apply(self, network: FusedModel, bench: Workbench) -> FusedModel:
        seed_everything(bench.seed)
        tuned = copy.deepcopy(network)
        training = bench.settings.training(**TRAINING, modality_dropout=network.fusion_head.modality_dropout)
        tuned.fusion_head.modality_dropout = training.modality_dropout
        job = joint.job(
            tuned,
            {column: copy.deepcopy(head) for column, head in bench.heads.items()},
            bench.dataset,
            training,
            bench.compute,
            seed=bench.seed,
            folder=bench.folder,
            label="finetune",
            encoder_rate=self.config.encoder_rate,
        )
        train(job, bench.console)
        val = bench.dataset.splits["val"]
        outputs = outputs_for(tuned, bench.dataset, val, bench.compute) * tuned.fusion_head.temperature.cpu()
        settle(bench.dataset.task, tuned.fusion_head, outputs, bench.dataset.targets[val])
        return tuned

    def improves(self, before: Mapping[str, float], after: Mapping[str, float], primary: str, higher: bool) -> bool:
        now, then = (after[primary], before[primary]) if higher else (before[primary], after[primary])
        return now > then or (now == then and after["loss"] < before["loss"])
