"""Training for columns that belong together: an encoder among them; and where vectors of all columns begin.

An encoder learns through the other columns: what is plain of each of them (what the linear baseline sees, along its principal
axes) is brought into one space with what the encoder makes of its own, and the loss asks which rows belong to which. Inputs
that share the encoder are held against each other by it directly. So each encoder trains by itself, whatever becomes of the
others; `fuse --train-encoders` trains them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError
from mmcli.fusions import Fusion
from mmcli.heads import Head
from mmcli.jobs.encoder import variation
from mmcli.models.towers import TowerModel
from mmcli.signals import Batch, Features, FeatureTable, Fused, Source
from mmcli.tasks import Task
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows
from mmcli.training.device import Compute
from mmcli.training.job import Job, Step
from mmcli.vectors import plain, together
from mmcli.vectors.aligned import Aligned

TEMPERATURES = (0.01, 0.02, 0.05, 0.07, 0.1, 0.2)
"""Of the loss: those from which the one to begin with is chosen."""
USUAL = (0.2, 1.0)
"""Shrinkage and power where no val row tells which are best."""


def job(
    network: TowerModel,
    prepared: Mapping[str, Source],
    dataset: Dataset,
    config: TrainingConfig,
    compute: Compute,
    *,
    seed: int,
    folder: Path,
    label: str,
) -> Job:
    """The job that trains an encoder on the `prepared` columns of all that read it, beside the other inputs."""
    if config.mix != "none":
        raise ConfigError(
            f"training.mix = {config.mix}: the loss compares rows with one another, so none can be half another",
            "Leave it out.",
        )
    owner = next(iter(prepared))
    varied = variation(owner, network.encoder, dataset, config.augment)
    others = {name: own for name, own in dataset.plain_views.items() if name not in prepared}
    rows = Rows(
        {**prepared, **others}, dataset.targets, dataset.splits, {} if varied is None else dict.fromkeys(prepared, varied)
    )
    rows = rows.to(compute.device)
    asked = torch.tensor([name in prepared for name in dataset.task.columns], device=compute.device)

    def features(index: Tensor) -> dict[str, Features]:
        batches = [network.features(batch.inputs)[0] for batch in rows.in_order(index, 256)]
        return {name: _joined([own[name] for own in batches]) for name in batches[0]}

    network.eval()
    with compute.threading():
        begin(network.align, network.head, features, dataset, asked)
    return Job(
        step=_Beside(network, asked),
        rows=rows,
        task=dataset.task,
        config=config,
        compute=compute,
        seed=seed,
        folder=folder,
        label=label,
        learning_rates={f"encoder.{name}": rate for name, rate in network.encoder.learning_rates().items()},
    )


def _joined(parts: list[Features]) -> Features:
    """Pooled features and what is there, of consecutive batches."""
    pooled, present = torch.cat([own.pooled for own in parts]), torch.cat([own.present for own in parts])
    return Features(pooled, pooled[:, None], present[:, None], present)


class _Beside(Step):
    """An encoder beside the plain features of other inputs. What two of those have to do with each other is not asked."""

    module: TowerModel

    def __init__(self, network: TowerModel, asked: Tensor) -> None:
        super().__init__(network)
        self.asked = asked

    def _answer(self, fused: Fused) -> Aligned:
        outputs: Aligned = self.module.head(fused)
        return replace(outputs, asked=self.asked)

    def outputs(self, batch: Batch) -> Any:
        return self._answer(self.module.align(self.module.features(batch.inputs)[0]))

    def forward(self, batch: Batch) -> Tensor:
        made = [self.module.align(own) for own in self.module.features(batch.inputs)]
        return self._of(made, batch)

    def _of(self, made: list[Fused], batch: Batch) -> Tensor:
        losses = [self.module.head.loss(self._answer(fused), fused, batch.targets) for fused in made]
        return torch.stack(losses).mean()

    def represent(self, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        return [self.module.align(own).pooled for own in self.module.features(batch.inputs)], None

    def compare(self, represented: list[Tensor], batch: Batch) -> Tensor:
        return self._of([Fused(own) for own in represented], batch)


@torch.no_grad()
def begin(
    fusion: Fusion,
    head: Head,
    features: Callable[[Tensor], Mapping[str, Features]],
    dataset: Dataset,
    asked: Tensor | None = None,
) -> None:
    """Starts a fusion that aligns at what the columns have in common in train rows, of which `features` of any rows are given:
    what finds val rows best; and the head at the temperature that does."""
    own: Any = fusion.eval()
    train, val = plain.some(dataset.splits["train"]), dataset.splits["val"]
    seen = {name: (x.cpu(), here.cpu()) for name, (x, here) in own.joined(features(train)).items()}
    if len(seen) < 2:
        return
    looked = features(val) if len(val) else None
    targets = dataset.targets[val]

    def worth(shrinkage: float, power: float) -> tuple[float, float]:
        if looked is None:
            return float((shrinkage, power) == USUAL), 0.0
        score = dataset.task.score(_asking(head(fusion(looked)), asked), targets)
        return score[dataset.task.primary_metric], -score["loss"]

    best, most = None, (float("-inf"), 0.0)
    every = [[1.0] * len(parts) for parts in own.parts]
    shares, ways, shrinkages = every, _ways(own), list(together.SHRINKAGES)
    for tried in [every, *_some_encoders(own)]:
        mixed = [kept if all(mine) else mine for kept, mine in zip(shares, tried, strict=True)]
        chosen, strength = ways[0], shrinkages[0]
        for spaces in ways:
            for state, found in _candidates(list(seen.values()), own, mixed, spaces, shrinkages):
                own.start(*state)
                if (value := worth(found.shrinkage, found.power)) > most:
                    best, most, shares, chosen, strength = state, value, mixed, spaces, found.shrinkage
        if tried is every:  # what is left to see is whether fewer encoders do better, in the same way
            ways, shrinkages = [chosen], [strength]
    if best is None:
        return
    own.start(*best)
    if looked is not None:
        fused = fusion(looked)
        _settle_temperature(head, _asking(head(fused), asked), fused, targets.to(fused.pooled.device))


def _some_encoders(fusion: Any) -> list[list[list[float]]]:
    """Shares of the encoders of each column: for the columns of one space after the other with one of them alone, or without
    one of several."""
    found = []
    for space in dict.fromkeys(fusion.spaces):
        mine = [own == space for own in fusion.spaces]
        count = len(fusion.parts[fusion.spaces.index(space)])
        places = range(count if count > 1 else 0)
        shares = [[float(place == one) for place in range(count)] for one in places]
        shares += [[float(place != one) for place in range(count)] for one in places if count > 2]
        found += [
            [some if here else [1.0] * len(parts) for here, parts in zip(mine, fusion.parts, strict=True)] for some in shares
        ]
    return found


def _scaled(x_NF: Tensor, shares: Sequence[float], parts: Sequence[int]) -> Tensor:
    """With each encoder's part of x times its share."""
    return x_NF * torch.cat([x_NF.new_full((width,), share) for share, width in zip(shares, parts, strict=True)])


def _ways(fusion: Any) -> list[list[int]]:
    """In which space each column lies: those that share their encoders in one; or each in its own."""
    alone = list(range(len(fusion.spaces)))
    return [fusion.spaces] if fusion.spaces == alone else [fusion.spaces, alone]


def _candidates(
    seen: Sequence[tuple[Tensor, Tensor]],
    fusion: Any,
    shares: Sequence[Sequence[float]],
    spaces: Sequence[int],
    shrinkages: Sequence[float],
) -> Iterator[tuple[tuple[list[Tensor], list[Tensor]], together.Found]]:
    """What a fusion may start at, with these shares of the encoders and columns in these spaces."""
    scaled = [_scaled(x, share, parts) for (x, _), share, parts in zip(seen, shares, fusion.parts, strict=True)]
    views = [together.View(x, here, space) for x, (_, here), space in zip(scaled, seen, spaces, strict=True)]
    centres = [x[here].double().mean(0) if here.any() else x.new_zeros(x.shape[1]).double() for x, here in seen]
    for found in together.candidates(views, fusion.config.dim, shrinkages):
        each = zip((found.directions[space] for space in spaces), shares, fusion.parts, strict=True)
        yield (centres, [_scaled(own.T, share, parts).T for own, share, parts in each]), found


def _asking(outputs: Aligned, asked: Tensor | None) -> Aligned:
    return outputs if asked is None else replace(outputs, asked=asked)


def _settle_temperature(head: Head, outputs: Aligned, fused: Fused, targets: Tensor) -> None:
    """The one of least loss on val."""
    scale: Any = head.scale
    costs = {}
    for temperature in TEMPERATURES:
        scale.fill_(-torch.tensor(temperature).log())
        costs[temperature] = float(head.loss(outputs, fused, targets))
    scale.fill_(-torch.tensor(min(costs, key=lambda own: costs[own])).log())


def begin_fusion(heads: Any, features: Mapping[str, FeatureTable], dataset: Dataset) -> None:
    """The same for F on the embeddings that encoders left."""
    if not heads.fusion.aligns:
        return
    device = next(heads.parameters()).device

    def of(index: Tensor) -> dict[str, Features]:
        return {name: own.gather(index).float().to(device) for name, own in features.items()}

    begin(heads.fusion, heads.head, of, dataset)


def kept(module: nn.Module) -> dict[str, Tensor]:
    """What a module holds now."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def better(task: Task, before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Whether what was trained finds val rows better than what it began as: by the primary metric, then by the loss."""
    sign = 1.0 if task.primary_higher_is_better else -1.0
    primary = task.primary_metric
    return (sign * after[primary], -after["loss"]) > (sign * before[primary], -before["loss"])
