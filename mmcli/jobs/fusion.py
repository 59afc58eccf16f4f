"""Training F and its head on the embeddings that encoders left: the job, for the training loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mmcli.artifacts import tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.models import loading
from mmcli.models.networks import FusionHead, Heads, Output, settle
from mmcli.signals import Batch, Features
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows
from mmcli.training.device import Compute
from mmcli.training.job import Job

OUT_OF_FOLD = "outputs_out_of_fold"
"""What the embeddings file calls the outputs for train rows of encoders that have not seen them."""
DECISIONS_RATE = 50.0
"""Factor on the learning rate of the weights of the columns' own predictions: one for each is all there is to learn."""


def embeddings(artifact: Artifact, out_of_fold: bool = False) -> Features:
    """The features that an encoder left of every row, float16; with its outputs, of train rows out of fold where asked for."""
    named = tensors.load(artifact.file(loading.EMBEDDINGS))
    outputs = named[OUT_OF_FOLD] if out_of_fold else named["outputs"]
    return Features(named["pooled"], named["tokens"], named["mask"], named["present"], outputs)


def job(
    head: FusionHead,
    features: Mapping[str, Features],
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
    head.to(compute.device)

    def forward(batch: Batch) -> Output:
        output: Output = head({name: own.float() for name, own in batch.inputs.items()})
        return output

    def loss(batch: Batch) -> Tensor:
        return head.loss(forward(batch), batch.targets)

    return Job(
        module=head,
        outputs=lambda batch: forward(batch).outputs,
        loss=loss,
        rows=Rows(features, dataset.targets, dataset.splits, {}).to(compute.device),
        task=task,
        config=config,
        compute=compute,
        seed=seed,
        folder=folder,
        label=label,
        learning_rates={"decisions.": DECISIONS_RATE},
    )


def swap_share(features: Features, dataset: Dataset) -> float:
    """How often a train row's features must be another's for the encoder's own score on train to fall to that on val.

    (score on train - score on val) / (score on train - score with all rows shuffled), from 0 to 0.9
    """
    outputs = features.outputs
    assert outputs is not None
    task, primary = dataset.task, dataset.task.primary_metric
    train, val = dataset.splits["train"], dataset.splits["val"]
    shuffled = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    by_heart = task.score(outputs[train], dataset.targets[train])[primary]
    honest = task.score(outputs[val], dataset.targets[val])[primary]
    at_random = task.score(outputs[shuffled], dataset.targets[train])[primary]
    if abs(by_heart - at_random) < 1e-9:
        return 0.0
    return float(min(max((by_heart - honest) / (by_heart - at_random), 0.0), 0.9))


def settled(heads: Heads, features: Mapping[str, Features], dataset: Dataset, compute: Compute) -> dict[str, Tensor]:
    """`outputs_and_weights` once what the heads decide by is set, from the val rows."""
    val = dataset.splits["val"]
    settle(heads, outputs_and_weights(heads, features, compute)["outputs"][val], dataset.targets[val])
    return outputs_and_weights(heads, features, compute)


@torch.no_grad()
def outputs_and_weights(heads: torch.nn.Module, features: Mapping[str, Features], compute: Compute) -> dict[str, Tensor]:
    """For all rows: outputs [N, num_outputs] and, of methods that have them, the columns' weights [N, M]."""
    heads.eval()
    rows = len(next(iter(features.values())).present)
    outputs, weights = [], []
    with compute.autocast():
        for index in torch.arange(rows).split(512):
            output: Output = heads({name: own.gather(index).float().to(compute.device) for name, own in features.items()})
            outputs.append(output.outputs.float().cpu())
            if output.fused.weights is not None:
                weights.append(output.fused.weights.float().cpu())
    return {"outputs": torch.cat(outputs), **({"weights": torch.cat(weights)} if weights else {})}
