"""Training one encoder that several inputs read, a head for each of them: the job, for the training loop.

Where the task is whether they belong together, it is the encoder that learns it, from pairs: the cosine of two cells, scaled
and shifted, is the log-odds that the pair of a row does (Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training), and
all other cells of a batch are contrasted, wherever it is known whether they do (Khosla et al. 2020, Supervised Contrastive
Learning). The heads look on: what one input alone tells is learnt without the encoder being moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.data import identities
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError
from mmcli.jobs.encoder import variation
from mmcli.models.columns import SharedModel, alone, own_loss
from mmcli.signals import Batch, Features, Fused, Source
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows
from mmcli.training.device import Compute
from mmcli.training.job import Job, Step

TEMPERATURE = 0.1
"""Of the contrast between cells."""


def job(
    network: SharedModel,
    prepared: Mapping[str, Source],
    dataset: Dataset,
    config: TrainingConfig,
    compute: Compute,
    *,
    seed: int,
    folder: Path,
    label: str,
) -> Job:
    """The job that trains an encoder on the `prepared` columns of all that read it."""
    if config.mix != "none":
        raise ConfigError(
            f"training.mix = {config.mix}: {' and '.join(map(repr, prepared))} share an encoder, and such rows are not mixed",
            "Leave it out.",
        )
    owner = next(iter(prepared))
    varied = variation(owner, network.encoder, dataset, config.augment)
    augment = {} if varied is None else dict.fromkeys(prepared, varied)
    rows = Rows(dict(prepared), dataset.targets, dataset.splits, augment)
    step: Step = _Each(network)
    if network.pair is not None:
        cells = identities.same_cells([dataset.column(name) for name in prepared])
        train = dataset.splits["train"]
        things = identities.of_one_thing(cells, train[dataset.targets[train] == 1])
        step = _Pairs(network, cells.to(compute.device), things.to(compute.device))
    return Job(
        step=step,
        rows=rows.to(compute.device),
        task=dataset.task,
        config=config,
        compute=compute,
        seed=seed,
        folder=folder,
        label=label,
        learning_rates={"pair.": 10.0} | {f"encoder.{name}": rate for name, rate in network.encoder.learning_rates().items()},
    )


class _Each(Step):
    """The mean of what each input's own head loses; the mean of what they answer."""

    module: SharedModel

    def outputs(self, batch: Batch) -> Any:
        features = self.module.features(batch.inputs)
        each = [head(alone(features[name])) for name, head in self.module.own_heads().items()]
        return self.module.head.task.outputs.mean(each, torch.full((len(each),), 1 / len(each), device=batch.targets.device))

    def forward(self, batch: Batch) -> Tensor:
        return self._alone({name: alone(own) for name, own in self.module.features(batch.inputs).items()}, batch.targets)

    def _alone(self, fused: Mapping[str, Fused], targets: Tensor) -> Tensor:
        heads = self.module.own_heads()
        return torch.stack([own_loss(head, head(fused[name]), fused[name], targets) for name, head in heads.items()]).mean()


class _Pairs(_Each):
    """Pairs of cells, those of each row and those of other rows; beside them the heads, which move nothing else."""

    def __init__(self, network: SharedModel, cells_MN: Tensor, things_MN: Tensor) -> None:
        super().__init__(network)
        self.cells_MN, self.things_MN = cells_MN, things_MN

    def outputs(self, batch: Batch) -> Any:
        assert self.module.pair is not None
        return self.module.pair(list(self.module.features(batch.inputs).values()))

    def forward(self, batch: Batch) -> Tensor:
        features = self.module.features(batch.inputs)
        own = {name: Fused(found.pooled.detach(), found.tokens.detach(), found.mask) for name, found in features.items()}
        return self._pairs(features, batch) + self._alone(own, batch.targets)

    def _pairs(self, features: Mapping[str, Features], batch: Batch) -> Tensor:
        pair, index = self.module.pair, batch.row_ids
        assert pair is not None
        count = len(next(iter(features.values())).pooled) // len(index)
        together, apart = known(self.cells_MN[:, index], self.things_MN[:, index], batch.targets)
        losses = []
        for member in range(count):  # each member of an encoder that has several compares by itself
            rows = slice(member * len(index), (member + 1) * len(index))
            own = [replace(found, pooled=found.pooled[rows], present=found.present[rows]) for found in features.values()]
            told = self.module.head.task.loss(pair(own), batch.targets)
            unit = F.normalize(torch.cat([found.pooled.float() for found in own]), dim=1)
            losses.append(told + contrast(unit @ unit.T, together, apart))
        return torch.stack(losses).mean()


def contrast(cosines_KK: Tensor, together: Tensor, apart: Tensor) -> Tensor:
    """Of each cell that belongs together with others: how far these are from being the likeliest of all that is known of it
    (Khosla et al. 2020, equation 2); 0 where no cell does."""
    logits = (cosines_KK / TEMPERATURE).masked_fill(~(together | apart), -1e4)
    count = together.sum(1)
    lost = -((logits - logits.logsumexp(1, keepdim=True)) * together).sum(1) / count.clamp(min=1)
    return lost.sum() / (count > 0).sum().clamp(min=1)


def known(cells_MB: Tensor, things_MB: Tensor, targets_B: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs of the M B cells of a batch are known to belong together, and which not: bool [M B, M B] each.

    The columns of a row do as its target says. Other cells do where they are equal or of one thing, and do not where they are
    of two. A cell is no pair with itself, and an absent one with none.
    """
    columns, rows = cells_MB.shape
    cells, things = cells_MB.flatten(), things_MB.flatten()
    row = torch.arange(rows, device=cells.device).repeat(columns)
    there = (cells >= 0)[:, None] & (cells >= 0)[None]
    itself = torch.eye(len(cells), dtype=torch.bool, device=cells.device)
    equal, one = cells[:, None] == cells[None], things[:, None] == things[None]
    same_row = (row[:, None] == row[None]) & ~itself
    told = (targets_B == 1)[row][:, None] & same_row
    together = torch.where(same_row, told, equal | one) & there & ~itself
    apart = torch.where(same_row, ~told, ~(equal | one)) & there & ~itself
    return together, apart & ~equal


@torch.no_grad()
def outputs_alone(made: Job, reader: str, index: Tensor, batch_size: int = 256) -> Any:
    """What one reader's own head answers for the rows `index`, in evaluation mode."""
    network, kind = made.module, made.task.outputs
    assert isinstance(network, SharedModel)
    rows, head = replace(made.rows, inputs={reader: made.rows.inputs[reader]}), network.own_heads()[reader]
    made.step.eval()
    with made.compute.autocast():
        parts = [kind.plain(head(alone(network.encoder(batch.inputs[reader])))) for batch in rows.in_order(index, batch_size)]
    return kind.join(parts)
