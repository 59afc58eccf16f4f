"""Training encoders, fusion and head together, from a model that is already there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcli.data.dataset import Dataset
from mmcli.heads import Head
from mmcli.jobs import balancing
from mmcli.jobs.encoder import variation
from mmcli.jobs.fusion import DECISIONS_RATE
from mmcli.models.columns import alone
from mmcli.models.networks import FusedModel, FusionHead
from mmcli.signals import Batch, Features, FeatureTable, Fused
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Augment, Rows
from mmcli.training.device import Compute
from mmcli.training.job import Job, Step

ALIGNED = 64
"""Width in which columns are aligned."""


@contextmanager
def narrowed(network: FusedModel) -> Iterator[None]:
    """While it trains: without the parameters of its encoders that no train row can change."""
    encoders = [network.encoder(name) for name in network.names]
    try:
        for encoder in encoders:
            encoder.lay_aside()
        yield
    finally:
        for encoder in encoders:
            encoder.take_back()


class _WithHeads(nn.Module):
    """A fused model and what trains beside it and is not kept: the columns' own heads, and projections to align them by."""

    def __init__(self, network: FusedModel, heads: Mapping[str, Head], aligns: bool) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleList(heads.values())
        self.headed = list(heads)
        dims = [network.encoder(name).dim for name in network.names] if aligns else []
        self.projections = nn.ModuleList([nn.Linear(dim, ALIGNED) for dim in dims])

    def own_heads(self) -> dict[str, Head]:
        return {name: head for name, head in zip(self.headed, self.heads, strict=True) if isinstance(head, Head)}


def job(
    network: FusedModel,
    heads: Mapping[str, Head],
    dataset: Dataset,
    config: TrainingConfig,
    compute: Compute,
    *,
    seed: int,
    folder: Path,
    label: str,
    encoder_rate: float,
    teachers: Mapping[str, FeatureTable] | None = None,
    watch: Callable[[list[dict[str, float]]], bool] = lambda _: False,
) -> Job:
    """The job that trains `network` through, its encoders at `encoder_rate` times the learning rate.

    `heads` are the columns' own: with weight `config.auxiliary` each column's own loss is added, so that no column goes idle
    while another explains the training rows (Wang 2020). `teachers` are the features that the encoders left of all rows, for
    `config.anchor`; `config.balance` and `config.align` need nothing more.
    """
    prepared = network.prepare({name: dataset.column(name) for name in network.inputs})
    rows = Rows(prepared, dataset.targets, dataset.splits, _variations(network, dataset, config))
    taught = (teachers or {}).items() if config.anchor else ()
    anchors = {name: balancing.Teacher.of(own.to(compute.device)) for name, own in taught}
    return Job(
        step=_Step(_WithHeads(network, heads, aligns=config.align > 0).to(compute.device), config, anchors),
        rows=rows.to(compute.device),
        task=dataset.task,
        config=config,
        compute=compute,
        seed=seed,
        folder=folder,
        label=label,
        watch=watch,
        learning_rates=_learning_rates(network, encoder_rate),
    )


class _Step(Step):
    """Encoders, F and its head on signals; with what holds columns back, to their teachers, or together."""

    module: _WithHeads

    def __init__(self, module: _WithHeads, config: TrainingConfig, anchors: Mapping[str, balancing.Teacher]) -> None:
        super().__init__(module)
        self.config = config
        self.anchors = anchors

    def outputs(self, batch: Batch) -> Any:
        return self.module.network(batch.inputs).outputs

    def represent(self, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        network = self.module.network
        features = network.features(batch.inputs)
        head = network.fusion_head
        assert isinstance(head, FusionHead)
        fused = head.fused(features)
        own = [features[name].pooled for name in self.module.headed] if self.config.auxiliary else []
        penalty = [head.fusion.penalty(fused, batch.targets), *self._beside(features, batch)]
        kept = [loss for loss in penalty if loss is not None]
        return [fused.pooled, *own], torch.stack(kept).sum() if kept else None

    def compare(self, represented: list[Tensor], batch: Batch) -> Tensor:
        head = self.module.network.fusion_head
        assert isinstance(head, FusionHead)
        fused = Fused(represented[0])
        total = head.head.loss(head.head(fused), fused, batch.targets)
        for own, column in zip(self.module.own_heads().values(), represented[1:], strict=False):
            total = total + self.config.auxiliary * own.loss(own(Fused(column)), Fused(column), batch.targets)
        return total

    def enrol(self, outputs: Any, targets: Tensor) -> None:
        head = self.module.network.fusion_head
        assert isinstance(head, FusionHead)
        head.enrol(outputs, targets)

    def forward(self, batch: Batch) -> Tensor:
        config, network = self.config, self.module.network
        features = network.features(batch.inputs)
        own_losses = self._own_losses(features, batch.targets) if config.auxiliary or config.balance else {}
        if config.balance:
            factors = balancing.balance_factors(own_losses, config.balance)
            features = {name: balancing.scaled(own, factors[name]) for name, own in features.items()}
        total = network.fusion_head.loss(network.fusion_head(features), batch.targets)
        if config.auxiliary and own_losses:
            total = total + config.auxiliary * torch.stack(list(own_losses.values())).sum()
        for loss in self._beside(features, batch):
            total = total + loss
        return total

    def _beside(self, features: Mapping[str, Features], batch: Batch) -> list[Tensor]:
        """What holds columns to their teachers, or together."""
        config, network, found = self.config, self.module.network, []
        if self.anchors:
            found.append(config.anchor * balancing.anchored(features, self.anchors, batch.row_ids))
        if config.align:
            pairs = zip(network.names, self.module.projections, strict=True)
            projected = {name: layer(features[name].pooled) for name, layer in pairs}
            found.append(config.align * balancing.alignment(projected, {n: own.present for n, own in features.items()}))
        return found

    def _own_losses(self, features: Mapping[str, Features], targets: Tensor) -> dict[str, Tensor]:
        """Of each column by itself."""
        found = {}
        for name, head in self.module.own_heads().items():
            fused = alone(features[name])
            found[name] = head.loss(head(fused), fused, targets)
        return found


def _variations(network: FusedModel, dataset: Dataset, config: TrainingConfig) -> dict[str, Augment]:
    """Encoder -> how its train rows are varied, where they are."""
    found = {n: variation(source, network.encoder(n), dataset, config.augment) for n, source in network.sources.items()}
    return {name: own for name, own in found.items() if own is not None}


def _learning_rates(network: FusedModel, encoder_rate: float) -> dict[str, float]:
    """Prefix of parameter names -> factor on the learning rate: the finest first, since the first that fits counts."""
    rates = {
        f"network.encoders.{place}.{part}": rate * encoder_rate
        for name, place in network.places.items()
        for part, rate in network.encoder(name).learning_rates().items()
    }
    decisions = {"network.fusion_head.decisions.": DECISIONS_RATE}
    return {**rates, "network.encoders.": encoder_rate, **decisions, "heads.": encoder_rate}
