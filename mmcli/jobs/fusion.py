"""Training F and its head on the embeddings that encoders left: the job, for the training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcli.artifacts import tensors
from mmcli.artifacts.store import Artifact
from mmcli.data import memory
from mmcli.data.dataset import Dataset
from mmcli.data.streaming import StreamedFeatures
from mmcli.jobs import aligning
from mmcli.models import loading
from mmcli.models.calibration import temperature
from mmcli.models.networks import FusionHead, Heads, Output, settle
from mmcli.signals import OUTPUTS, Batch, Features, FeatureTable, Fused, RaggedFeatures
from mmcli.tasks import Task
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows
from mmcli.training.device import Compute
from mmcli.training.job import Job, Step
from mmcli.vectors import plain

OUT_OF_FOLD = "outputs_out_of_fold"
"""What the embeddings file calls the outputs for train rows of encoders that have not seen them."""
DECISIONS_RATE = 50.0
"""Factor on the learning rate of the weights of the columns' own predictions: one for each is all there is to learn."""


def embeddings(artifact: Artifact, dataset: Dataset, out_of_fold: bool = False) -> FeatureTable:
    """The features that an encoder left of every row, float16; with its decisions, of train rows out of fold where asked. Where
    all tokens are kept and are more than `memory.features_budget()`, they stay on disk."""
    features, tokens = loading.kept_file(artifact, loading.EMBEDDINGS), loading.kept_file(artifact, loading.TOKENS)
    named = tensors.of(artifact, features)
    with artifact.understood(features):
        decisions = None if dataset.task.aligns_columns else named.get(OUT_OF_FOLD if out_of_fold else OUTPUTS)
        whole = ["pooled", "present", *([] if "offsets" in named else ["tokens", "mask"])]
        rows = {len(named[name]) for name in whole} | ({len(decisions)} if decisions is not None else set())
        rows |= {len(named["offsets"]) - 1} if "offsets" in named else set()
        if rows != {len(dataset.rows)} or not named["pooled"].is_floating_point():
            raise ValueError("its features are not numbers of every row")
        if "offsets" not in named:
            return Features(named["pooled"], named["tokens"], named["mask"], named["present"], decisions)
    own = (named["offsets"], named["present"], decisions)
    file = artifact.file(tokens)
    if file.stat().st_size > memory.features_budget():
        return StreamedFeatures(named["pooled"], file, *own)
    return RaggedFeatures(named["pooled"], tensors.of(artifact, tokens)["tokens"], *own)


def job(
    head: FusionHead,
    features: Mapping[str, FeatureTable],
    dataset: Dataset,
    config: TrainingConfig,
    compute: Compute,
    *,
    seed: int,
    folder: Path,
    label: str,
) -> Job:
    """The job that trains `head` on the features of all rows."""
    task = dataset.task
    head.start_absent(features, dataset.splits["train"])
    fit_cosines(head, features, dataset, trained=False)
    aligning.begin_fusion(head, features, dataset)
    head.to(compute.device)

    return Job(
        step=_Step(head),
        rows=Rows(without_unused_tokens(head, features), dataset.targets, dataset.splits, {}).to(compute.device),
        task=task,
        config=config,
        compute=compute,
        seed=seed,
        folder=folder,
        label=label,
        learning_rates={"decisions.": DECISIONS_RATE} | {f"fusion.{name}": rate for name, rate in head.fusion.rates.items()},
    )


def without_unused_tokens(heads: Heads, features: Mapping[str, FeatureTable]) -> Mapping[str, FeatureTable]:
    """The features as the heads need them: without tokens, wherever these lie, if they look at none."""
    return features if heads.reads_tokens else {name: _pooled_alone(own) for name, own in features.items()}


def _pooled_alone(own: FeatureTable) -> Features:
    """All rows with the pooled features as their only token."""
    return Features(own.pooled, own.pooled[:, None], own.present[:, None], own.present, own.outputs)


def fit_cosines(head: FusionHead, features: Mapping[str, FeatureTable], dataset: Dataset, *, trained: bool) -> None:
    """Sets what a method that compares columns makes of their likeness: by val rows; before it is trained, the directions that
    pairs are told apart along by train rows."""
    val, device = dataset.splits["val"], next(head.parameters()).device
    if head.adds_odds and not trained:
        train = plain.some(dataset.splits["train"])
        head.fit_axes(_pooled(features, train, torch.device("cpu")), dataset.targets[train])
    if head.adds_odds and len(val):
        head.fit_cosines(_pooled(features, val, device), dataset.targets[val].to(device), trained=trained)


def _pooled(features: Mapping[str, FeatureTable], index: Tensor, device: torch.device) -> dict[str, Features]:
    """Rows without their tokens, which nothing that compares columns looks at."""
    return {name: _pooled_alone(own).gather(index).float().to(device) for name, own in features.items()}


class _Step(Step):
    """F and its head on features."""

    module: FusionHead

    def _output(self, batch: Batch) -> Output:
        output: Output = self.module({name: own.float() for name, own in batch.inputs.items()})
        return output

    def outputs(self, batch: Batch) -> Any:
        return self._output(batch).outputs

    def represent(self, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        fused = self.module.fused({name: own.float() for name, own in batch.inputs.items()})
        return [fused.pooled], self.module.fusion.penalty(fused, batch.targets)

    def compare(self, represented: list[Tensor], batch: Batch) -> Tensor:
        head, fused = self.module.head, Fused(represented[0])
        return head.loss(head(fused), fused, batch.targets)

    def begin(self, features: Tensor, targets: Tensor) -> None:
        self.module.head.begin(features, targets)

    def enrol(self, outputs: Any, targets: Tensor) -> None:
        self.module.enrol(outputs, targets)

    def forward(self, batch: Batch) -> Tensor:
        return self.module.loss(self._output(batch), batch.targets)


def swap_share(features: FeatureTable, dataset: Dataset) -> float:
    """How often a train row's features must be another's for the encoder's own score on train to fall to that on val.

    (score on train - score on val) / (score on train - score with all rows shuffled), from 0 to 0.9
    """
    outputs, task, primary = features.outputs, dataset.task, dataset.task.primary_metric
    if outputs is None or not task.features_may_be_swapped:
        return 0.0
    train, val = dataset.splits["train"], dataset.splits["val"]
    shuffled = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    by_heart = task.score(outputs[train], dataset.targets[train])[primary]
    honest = task.score(outputs[val], dataset.targets[val])[primary]
    at_random = task.score(outputs[shuffled], dataset.targets[train])[primary]
    if abs(by_heart - at_random) < 1e-9:
        return 0.0
    return float(min(max((by_heart - honest) / (by_heart - at_random), 0.0), 0.9))


@dataclass(frozen=True)
class Answers:
    """What F and its head make of rows."""

    task: Task
    outputs: Any
    """Of N rows."""
    weights: Tensor | None = None
    """[N, M]: the columns' weights, of methods that have them."""

    def of(self, index: Tensor) -> Any:
        """The outputs of the rows `index`."""
        return self.task.outputs.gather(self.outputs, index)

    def save(self) -> dict[str, Tensor]:
        """As tensors for a file."""
        return {**self.task.outputs.save(self.outputs), **({} if self.weights is None else {"weights": self.weights})}


def settled(heads: Heads, features: Mapping[str, FeatureTable], dataset: Dataset, compute: Compute) -> Answers:
    """The answers for all rows once what the heads decide by is set, from the val rows."""
    val = dataset.splits["val"]
    settle(heads, answers(heads, features, compute).of(val), dataset.targets[val])
    return answers(heads, features, compute)


def calibrated(heads: Heads, saved: Answers, dataset: Dataset) -> Answers:
    """What `settled` gave, once the temperature of least log loss on val is set, where outputs become probabilities."""
    if dataset.task.lacks("calibration"):
        return saved
    val = dataset.splits["val"]
    factor = temperature(saved.of(val), dataset.targets[val], dataset.task, heads.made_at)
    heads.temperature *= factor
    return replace(saved, outputs=saved.outputs / factor)


@torch.no_grad()
def answers(heads: Heads, features: Mapping[str, FeatureTable], compute: Compute) -> Answers:
    """The answers for all rows, on the host; the heads are on the device afterwards."""
    heads.to(compute.device).eval()
    features = without_unused_tokens(heads, features)
    rows, kind, host = len(next(iter(features.values())).present), heads.task.outputs, torch.device("cpu")
    outputs, weights = [], []
    with compute.autocast():
        for index in torch.arange(rows).split(512):
            output: Output = heads({name: own.gather(index).float().to(compute.device) for name, own in features.items()})
            outputs.append(kind.to(kind.plain(output.outputs), host))
            if output.fused.weights is not None:
                weights.append(output.fused.weights.float().cpu())
    return Answers(heads.task, kind.join(outputs), torch.cat(weights) if weights else None)
