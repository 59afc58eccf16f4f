"""Ways to improve a fused model, one file each, found by its name. Knows nothing of commands, and never sees test.

This file is their contract. An optimization takes a model and proposes others. The stage measures each on this machine, keeps
what val approves, and lets the user's goal choose. What a part learns, it learns from train, what it chooses, it chooses
on val.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mmcli.artifacts import layout
from mmcli.artifacts.store import Artifact
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.heads import Head
from mmcli.models import calibration
from mmcli.models.folds import Folds
from mmcli.models.forward import outputs_for
from mmcli.models.loading import load_encoder, load_fused, outputs
from mmcli.models.networks import AveragedHeads, FusedModel
from mmcli.models.recipe import Member, Recipe, encoder_choice, is_solved
from mmcli.models.runners import FILES, TORCH
from mmcli.reporting.console import Console
from mmcli.reporting.metrics import Interval
from mmcli.selection.search import METHODS, Search, Trial
from mmcli.signals import FeatureTable
from mmcli.training.device import Compute

OF_FOLDS = "it goes by val, on which most members of an average of folds were trained: --method NAME starts from one pipeline"

BY_HEART = "its one member finds each train row's own target in its context: it teaches nothing, and nothing of it trains"


@dataclass(frozen=True)
class Candidate:
    """A model, and how it is run."""

    name: str
    network: FusedModel
    recipe: Recipe
    way: str = TORCH
    """One of the ways in `mmcli.running`."""
    file: Path | None = None
    """What is run, where that is a file."""
    whole: Path | None = None
    """The graph in float32 that the file is made from, if it is there."""


@dataclass(frozen=True)
class Workbench:
    """What an optimization may work with."""

    root: Path
    """The artifacts root; a study lies there, beside the artifacts."""
    dataset: Dataset
    base: Artifact
    """The fusion that all starts from."""
    encoders: Mapping[str, Artifact]
    """Its encoders, by name."""
    features: Mapping[str, FeatureTable]
    """What they left of every row."""
    heads: Mapping[str, Head]
    """Their own trained heads."""
    fusions: tuple[Artifact, ...]
    """Every fusion that is there and fresh, the best on val first."""
    settings: Settings
    compute: Compute
    seed: int
    folder: Path
    """Where it may keep checkpoints while it works, and leave its log."""
    console: Console
    deadline: float = float("inf")
    """When it should end, by time.monotonic()."""
    trials: int | None = None
    """How many trials a search makes in all; by default as many as there is time for."""
    max_drop: float = 0.005
    """How much of the primary metric may be lost for speed or size."""
    anew: bool = False
    """Whether a search throws away what was tried before."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What the optimization wants to be said of it in the artifact."""
    folds: Folds | None = None
    """Of an average of folds which members may judge which rows."""

    @property
    def judged(self) -> Tensor:
        """The positions of the rows that models are judged by, and what they decide by is set by: val; of an average of folds
        all labelled rows of train and val, of which val is a part."""
        return self.dataset.splits["val"] if self.folds is None else self.folds.judged(self.dataset)

    def file_for(self, candidate: Candidate, way: str) -> Path:
        """Where what runs a candidate in that way is written: a place of its own."""
        return self.folder / layout.safe(candidate.name) / layout.safe(way) / FILES[way]

    def time_is_over(self) -> bool:
        return time.monotonic() > self.deadline

    def val_outputs(self, network: FusedModel) -> Any:
        """Outputs for the `judged` rows; of an average of folds each by the members that have not been trained on it."""
        if self.folds is None:
            return outputs_for(network, self.dataset, self.judged, self.compute)
        return self.folds.outputs(network, self.dataset, self.judged, self.compute)

    def val_score(self, outputs: Any) -> dict[str, float]:
        """The metrics of outputs for the `judged` rows."""
        return self.dataset.task.score(outputs, self.dataset.targets[self.judged])

    @torch.no_grad()
    def calibrated(self, candidate: Candidate) -> Candidate:
        """The candidate, its temperature set by val, so that models are judged by what they would be; its network is changed. A
        finer calibration that it took over from another model is laid aside."""
        task, val = self.dataset.task, self.judged
        if task.lacks("calibration"):
            return candidate
        candidate.network.calibration = nn.Identity()
        heads = candidate.network.fusion_head
        said = self.val_outputs(candidate.network)
        heads.temperature *= calibration.temperature(said, self.dataset.targets[val], task, heads.made_at)
        return replace(candidate, recipe=replace(candidate.recipe, calibration="", calibration_shape=()))

    def val_loss_gain(self, outputs: Any, other: Any) -> Interval:
        """By how much the loss on val is lower than with other outputs, in pairs."""
        targets = self.dataset.targets[self.judged]
        return self.dataset.task.gain(outputs, other, targets, self.seed, metric="loss")

    def val_gain(self, outputs: Any, other: Any) -> Interval:
        """By how much the primary metric on val is better than with other outputs, in pairs; cautiously."""
        targets = self.dataset.targets[self.judged]
        return self.dataset.task.gain(outputs, other, targets, self.seed, cautious=True)

    def val_rank(self, outputs: Any) -> tuple[float, float]:
        """Sorts by the primary metric on val, then by the loss; higher is better."""
        score, task = self.val_score(outputs), self.dataset.task
        return (score[task.primary_metric] * (1 if task.primary_higher_is_better else -1), -score["loss"])

    def search(self) -> Search:
        """The search over fusions of what the bench holds."""
        first = [artifact.config["method"] for artifact in self.fusions if artifact.config["method"] in METHODS][:4]
        compute = replace(self.compute, precision="float32")
        head = Recipe.of(self.base).head
        return Search(
            self.root, self.dataset, self.encoders, self.features, head, first, self.settings, compute, self.seed, self.anew
        )

    @property
    def choices(self) -> dict[str, dict[str, Any]]:
        """All encoders that there are, as a recipe names them; terms of a plain model that is a member of the base too."""
        solved = {name: own for name, own in Recipe.of(self.base).encoders.items() if is_solved(own)}
        return {name: encoder_choice(own.config) for name, own in self.encoders.items()} | solved

    def assembled(self, members: Sequence[Member], heads: Sequence[Mapping[str, Tensor]], like: Recipe) -> Candidate:
        """A model of fusions trained on the embeddings, their weights given, over the encoders as they were trained."""
        recipe = like.with_members(members, self.choices)
        recipe = replace(recipe, calibration="", calibration_shape=(), slim=False)
        network = recipe.build(self.dataset)
        own_heads = network.fusion_head
        for head, weights in zip(own_heads.each if isinstance(own_heads, AveragedHeads) else [own_heads], heads, strict=True):
            head.load_state_dict(dict(weights))
        solved = load_fused(self.dataset, self.base) if set(network.names) - set(self.encoders) else None
        for encoder in network.names:
            if encoder not in self.encoders:
                assert solved is not None
                network.encoder(encoder).load_state_dict(solved.encoder(encoder).state_dict())
                continue
            own = load_encoder(self.dataset, self.encoders[encoder])
            network.encoder(encoder).load_state_dict(own.encoder.state_dict())
            if encoder in network.own_heads():
                network.own_heads()[encoder].load_state_dict(own.head.state_dict())
        return Candidate(recipe.methods, network.to(self.compute.device).eval(), recipe)

    def base_outputs(self) -> Any:
        """What the fusion that all starts from answers for every row, its temperature taken off again: as trials answer."""
        heads, task = load_fused(self.dataset, self.base).fusion_head, self.dataset.task
        return task.outputs.tempered(outputs(self.base, self.dataset), 1 / heads.temperature)

    def of_trials(self, trials: Mapping[Trial, int], name: str, like: Recipe, base: int = 0) -> Candidate:
        """A model of the search's trials, averaged, each as often as it is said, and `base` times the fusion that all starts
        from; none is calibrated, so that thresholds mean the same to all."""
        members, weights = [trial.member for trial in trials], [trial.weights() for trial in trials]
        shares = [float(count) for count in trials.values()]
        if base:
            heads = load_fused(self.dataset, self.base).fusion_head
            members += Recipe.of(self.base).members
            if isinstance(heads, AveragedHeads):
                weights += [head.state_dict() for head in heads.each]
                shares += [base * share for share in heads.shares.tolist()]
            else:
                weights.append({**heads.state_dict(), "temperature": torch.ones(())})
                shares.append(base)
        made = self.assembled(members, weights, like)
        averaged = made.network.fusion_head
        if isinstance(averaged, AveragedHeads):
            averaged.shares.copy_(torch.tensor(shares) / sum(shares))
        return replace(made, name=name)


class Optimization(ABC):
    """One way to improve a fused model."""

    family: ClassVar[Literal["accuracy", "smaller", "runtime"]]
    """`accuracy`: the next model to start from, if val says so. `smaller`: other models that cost less. `runtime`: the same
    model, run in another way."""
    trains: ClassVar[bool] = False
    """Whether it trains, by the options of `training`."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What it needs beside mmcli's own packages: installed later, it is tried."""
    for_any_answer: ClassVar[bool] = False
    """Whether it is also for answers that are no vectors of decisions: texts, say; of `runtime` also vectors to compare."""
    for_decisions: ClassVar[bool] = True
    """Whether it is for those that are. What is not is left out there without a word, unless it is asked for."""
    for_vectors: ClassVar[bool] = False
    """Whether it is for answers that are vectors to compare, and for no others."""
    for_folds: ClassVar[bool] = False
    """Whether it is also for an average of folds: it neither trains it nor looks at val rows but by `Workbench.val_outputs`."""
    config: Any

    def __init__(self, config: Any) -> None:
        self.config = config

    def lacking(self, candidate: Candidate, bench: Workbench) -> str:
        """Why it has nothing to do here, the kind of answer included; empty where it has."""
        task = bench.dataset.task
        in_any_way = self.family == "runtime" and self.for_any_answer
        if task.gives_embeddings and not self.for_vectors and not in_any_way:
            return "it is not for answers that are vectors to compare"
        if self.for_vectors and not task.gives_embeddings:
            return f"it is for answers that are vectors to compare, and these are {task.outputs.words}"
        if not self.for_vectors and not self.for_any_answer and not task.outputs.decides:
            return f"it is for classes, labels and numbers, and these answers are {task.outputs.words}"
        if bench.folds is not None and not self.for_folds:
            return OF_FOLDS
        return self.unfit(candidate, bench)

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002 - most fit any
        """Why it has nothing to do here; empty where it has."""
        return ""

    @abstractmethod
    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        """New models; the one given stays as it was.

        Raises:
            RuntimeError, ConfigError: this device, or this model, does not allow it.
        """

    def improves(self, before: Any, after: Any, bench: Workbench) -> bool:
        """Of `accuracy`: whether the val outputs after are worth keeping: the primary metric is better beyond the noise of the
        rows, and the loss no worse than `max_drop` allows. What was chosen among many on few rows owes part of its score to
        them: there the model that is there stays."""
        if bench.val_gain(after, before).low <= 0:
            return False
        return bench.val_loss_gain(after, before).value >= -bench.max_drop * abs(bench.val_score(before)["loss"])


Contract = Optimization
__all__ = ["Candidate", "Contract", "Optimization", "Workbench"]
