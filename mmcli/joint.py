"""Training encoders, fusion and head together, from a model that is already there."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from mmcli.config import TrainingConfig
from mmcli.dataset import Dataset
from mmcli.modalities import Strength
from mmcli.networks import FusedModel
from mmcli.signals import Batch
from mmcli.training.data import Rows
from mmcli.training.device import Compute
from mmcli.training.loop import Job


class _WithHeads(nn.Module):
    """A fused model and the columns' own heads, which train beside it and are not kept."""

    def __init__(self, network: FusedModel, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleList(heads[name] for name in network.names)


def job(
    network: FusedModel,
    heads: Mapping[str, nn.Module],
    dataset: Dataset,
    config: TrainingConfig,
    compute: Compute,
    *,
    seed: int,
    folder: Path,
    label: str,
    encoder_rate: float,
) -> Job:
    """The job that trains `network` through, its encoders at `encoder_rate` times the learning rate.

    `heads` are the columns' own: with weight `config.auxiliary` each column's own loss is added, so that no column goes idle
    while another explains the training rows (Wang 2020).
    """
    inputs = {name: dataset.input(source) for name, source in network.sources.items()}
    prepared = network.prepare({name: dataset.column(name) for name in network.inputs})
    strength: Strength = "strong" if config.augment == "strong" else "light"
    varies = {
        name: functools.partial(found.augment, strength=strength)
        for name, found in inputs.items()
        if config.augment != "none" and found.varies and network.encoder(name).varies
    }
    rows = Rows(prepared, dataset.targets, dataset.splits, varies)
    module = _WithHeads(network, heads).to(compute.device)
    task = dataset.task

    def outputs(batch: Batch) -> Tensor:
        return network(batch.inputs).outputs  # type: ignore[no-any-return]

    def loss(batch: Batch) -> Tensor:
        features = network.features(batch.inputs)
        output = network.fusion_head(features)
        total = task.loss(output.outputs, batch.targets)
        penalty = network.fusion_head.penalty(output, batch.targets)
        total = total if penalty is None else total + penalty
        if config.auxiliary:
            for name, head in zip(network.names, module.heads, strict=True):
                total = total + config.auxiliary * task.loss(head(features[name].pooled), batch.targets)
        return total

    return Job(
        module=module,
        outputs=outputs,
        loss=loss,
        rows=rows.to(compute.device),
        task=task,
        config=config,
        compute=compute,
        seed=seed,
        folder=folder,
        label=label,
        learning_rates={
            **{
                f"network.encoders.{place}.{part}": rate * encoder_rate
                for place, name in enumerate(network.names)
                for part, rate in network.encoder(name).learning_rates().items()
            },
            "network.encoders.": encoder_rate,
            "heads.": encoder_rate,
        },
    )
