"""A smaller student with new encoders, taught by the model's own outputs (knowledge distillation, Hinton et al. 2015)"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from mmcli import registry
from mmcli.config import Config as BaseConfig
from mmcli.config import validate
from mmcli.jobs import student as student_job
from mmcli.models.forward import outputs_for
from mmcli.models.networks import settle
from mmcli.models.recipe import Member, Recipe
from mmcli.optimizations import Candidate, Optimization, Workbench
from mmcli.signals import Kind
from mmcli.training.config import TrainingConfig
from mmcli.training.device import seed_everything
from mmcli.training.loop import train

TRAINING = {"epochs": 40, "learning_rate": 2e-3, "batch_size": 64, "weight_decay": 0.02, "patience": 8}
SMALL: dict[Kind, tuple[str, dict[str, Any]]] = {
    "grid": ("cnn", {"width": 16}),
    "clip": ("cnn-rnn", {"width": 8, "hidden": 32}),
    "spectrogram": ("cnn", {"width": 16}),
    "ids": ("bag", {"buckets": 8192}),
    "fields": ("mlp", {"members": 1, "hidden": 64}),
    "vector": ("mlp", {"members": 1, "hidden": 64}),
    "sequence": ("rnn", {"hidden": 32}),
}
"""What reads each kind of signal in a student."""


class Config(BaseConfig):
    """Of the student."""

    hidden: int = Field(64, ge=4)
    """Width of its fused features."""


class Distill(Optimization):
    """One encoder for each input, a few times smaller, and a plain `concat`."""

    family: ClassVar[Literal["smaller"]] = "smaller"
    trains = True
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        return bench.dataset.task.lacks("distillation")

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        dataset = bench.dataset
        inputs = list(dict.fromkeys(str(choice["input"]) for choice in candidate.recipe.encoders.values()))
        encoders: dict[str, dict[str, Any]] = {}
        head = candidate.recipe.head
        for name in inputs:
            architecture, options = SMALL[dataset.input(name).spec.kind]
            part = registry.config_of(registry.load("encoders", architecture))
            own = {key: value for key, value in options.items() if key in part.model_fields}
            config = validate(part, own, f"encoder.{architecture}")
            encoders[name] = {"input": name, "architecture": architecture, "encoder": config.model_dump(), "head": head}
        fusion = registry.config_of(registry.load("fusions", "concat"))(hidden=self.config.hidden).model_dump()
        recipe = Recipe(encoders, (Member("concat", fusion, tuple(inputs)),), head, candidate.recipe.modality_dropout)
        seed_everything(bench.seed)
        student = recipe.build(dataset)
        for name in inputs:
            encoder = student.encoder(name)
            encoder.fit(encoder.prepare(dataset.column(name)).select(dataset.splits["train"]))
        student.to(bench.compute.device)
        teacher = outputs_for(candidate.network, dataset, torch.arange(len(dataset.rows)), bench.compute)
        training = TrainingConfig.of(bench.settings, **TRAINING, modality_dropout=candidate.recipe.modality_dropout)
        job = student_job.job(
            student,
            teacher,
            dataset,
            training,
            bench.compute,
            seed=bench.seed,
            folder=bench.folder,
            label="distill",
            encoder_rate=1.0,
            watch=lambda _: time.monotonic() > bench.deadline,
        )
        bench.extra["epochs"] = len(train(job, bench.console).history)
        val = dataset.splits["val"]
        settle(student.fusion_head, bench.val_outputs(student), dataset.targets[val])
        yield Candidate("student", student.eval(), recipe)
