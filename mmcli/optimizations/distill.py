"""A smaller student with new encoders, taught by the model's own outputs (knowledge distillation, Hinton et al. 2015)

Where answers are texts it learns those that the model writes for train rows (Kim and Rush 2016), and in a part of the rows
the right ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from mmcli import registry
from mmcli.config import Config as BaseConfig
from mmcli.config import validate
from mmcli.data.dataset import Dataset
from mmcli.jobs import student as student_job
from mmcli.jobs.joint import narrowed
from mmcli.models.forward import outputs_for
from mmcli.models.in_context import unaware
from mmcli.models.networks import FusedModel, settle
from mmcli.models.recall import Recall
from mmcli.models.recipe import Member, Recipe
from mmcli.optimizations import BY_HEART, Candidate, Optimization, Workbench
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
WIDTHS = ("dim", "width", "hidden", "embedding", "channels")
"""What encoders and heads call their width."""


class Config(BaseConfig):
    """Of the student."""

    hidden: int = Field(64, ge=4)
    """Width of its fused features."""


class Distill(Optimization):
    """One encoder for each input, a few times smaller, and a plain `concat`. Of texts, which are read off tokens, the model's
    own encoders, fusion and head instead, encoders and head with half the width and half the layers."""

    family: ClassVar[Literal["smaller"]] = "smaller"
    trains = True
    for_any_answer = True
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:
        return bench.dataset.task.lacks("distillation") or ("" if unaware(candidate.network) else BY_HEART)

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        dataset = bench.dataset
        decides = dataset.task.outputs.decides
        recipe = self._small(candidate.recipe, dataset) if decides else _half(candidate.recipe)
        seed_everything(bench.seed)
        student = recipe.build(dataset)
        for name in student.names:
            encoder = student.encoder(name)
            encoder.fit(encoder.prepare(dataset.column(student.sources[name])).select(dataset.splits["train"]))
        student.to(bench.compute.device)
        rows = torch.arange(len(dataset.rows)) if decides else dataset.splits["train"]
        teaching = unaware(candidate.network)
        assert teaching is not None, BY_HEART
        with _unknown_to_itself(teaching):
            teacher = outputs_for(teaching, dataset, rows, bench.compute)
        training = TrainingConfig.of(bench.settings, **TRAINING, modality_dropout=candidate.recipe.modality_dropout)
        job = student_job.job(
            student,
            teacher if decides else _taught(teacher, dataset, bench),
            dataset,
            training,
            bench.compute,
            seed=bench.seed,
            folder=bench.folder,
            label="distill",
            encoder_rate=1.0,
            watch=lambda _: time.monotonic() > bench.deadline,
        )
        with narrowed(student):
            bench.extra["epochs"] = len(train(job, bench.console).history)
        val = dataset.splits["val"]
        settle(student.fusion_head, bench.val_outputs(student), dataset.targets[val])
        yield Candidate("student", student.eval(), recipe)

    def _small(self, recipe: Recipe, dataset: Dataset) -> Recipe:
        """Of new encoders."""
        inputs = list(dict.fromkeys(str(choice["input"]) for choice in recipe.encoders.values()))
        encoders: dict[str, dict[str, Any]] = {}
        for name in inputs:
            architecture, options = SMALL[dataset.input(name).spec.kind]
            part = registry.config_of(registry.load("encoders", architecture))
            own = {key: value for key, value in options.items() if key in part.model_fields}
            config = validate(part, own, f"encoder.{architecture}")
            encoders[name] = {"input": name, "architecture": architecture, "encoder": config.model_dump(), "head": recipe.head}
        fusion = registry.config_of(registry.load("fusions", "concat"))(hidden=self.config.hidden).model_dump()
        return Recipe(encoders, (Member("concat", fusion, tuple(inputs)),), recipe.head, recipe.modality_dropout)


@contextmanager
def _unknown_to_itself(network: FusedModel) -> Iterator[None]:
    """Meanwhile known texts are not told to the rows that they are of: the teacher would know all of train by heart."""
    heads = [own for own in network.modules() if isinstance(own, Recall)]
    for own in heads:
        own.strangers = True
    try:
        yield
    finally:
        for own in heads:
            own.strangers = False


def _half(recipe: Recipe) -> Recipe:
    """The first of the fusions that are averaged, with the encoders that it reads and the head half as wide and deep."""
    member = recipe.members[0]
    halved = {name: recipe.encoders[name] for name in member.encoders}
    encoders = {name: {**own, "encoder": _halved(own["encoder"])} for name, own in halved.items()}
    head = {**recipe.head, "config": _halved(recipe.head["config"])}
    return Recipe(encoders, (member,), head, recipe.modality_dropout)


def _halved(config: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a part with half the width and half the layers, a width no less than eight, or four to an attention head."""
    heads = config.get("heads", 1)
    least = {**dict.fromkeys(WIDTHS, 8), "dim": 4 * heads, "layers": 1}
    there = {key: value for key, value in config.items() if key in least and isinstance(value, int)}
    step = {key: 2 * heads if key == "dim" else 1 for key in there}  # heads divide it, and halves of it are even
    smaller = {key: min(value, max(value // 2 // step[key] * step[key], least[key])) for key, value in there.items()}
    return {**config, **smaller}


def _taught(teacher: Any, dataset: Dataset, bench: Workbench) -> Tensor:
    """The targets, those of train rows being what the teacher writes."""
    task: Any = dataset.task
    found, train = dataset.targets.clone(), dataset.splits["train"]
    found[train] = task.dictated(teacher, dataset.targets[train])
    bench.extra["other_texts"] = int((found != dataset.targets).any(1).sum())
    return found
