"""Training one encoder with a head of its own: the job, for the training loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcli import registry
from mmcli.data.dataset import Dataset
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.modalities import Strength
from mmcli.models.columns import ColumnModel
from mmcli.signals import Batch, Fused, Host, Signal, Source, sent
from mmcli.text import lattice
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Augment, Rows
from mmcli.training.device import Compute
from mmcli.training.job import Job, Step
from mmcli.training.stopping import nothing_learnt

MIXABLE = frozenset(["grid", "spectrogram", "clip"])
"""The kinds of signal that may be mixed with another row's."""


def job(
    column: str,
    network: ColumnModel,
    prepared: Source,
    dataset: Dataset,
    config: TrainingConfig,
    compute: Compute,
    *,
    seed: int,
    folder: Path,
    label: str,
) -> Job:
    """The job that trains the encoder of an input on its `prepared` column."""
    task, kind = dataset.task, dataset.input(column).spec.kind
    if config.mix != "none" and task.compares_rows:
        raise ConfigError(
            f"training.mix = {config.mix}: the loss compares rows with one another, so none can be half another",
            "Leave it out.",
        )
    mixes = config.mix != "none" and kind in MIXABLE and network.encoder.varies
    why = why_read_once(registry.name_of(type(network.head)), config, dataset, column)
    twice = config.consistency > 0 and network.encoder.varies and not why
    varied = variation(column, network.encoder, dataset, config.augment, twice=twice)
    rows = Rows({column: prepared}, dataset.targets, dataset.splits, {} if varied is None else {column: varied})
    return Job(
        step=_Step(network, column, config.mix if mixes else "none", config.consistency if twice else 0.0),
        rows=rows.to(compute.device),
        task=task,
        config=config,
        compute=compute,
        seed=seed,
        folder=folder,
        label=label,
        learning_rates={f"encoder.{name}": rate for name, rate in network.encoder.learning_rates().items()},
        watch=nothing_learnt(task, dataset.targets, dataset.splits, config),
        watched="val is no better than for a constant",
    )


def unmixed(kind: str, config: Any) -> str:
    """Why the rows of an input that an encoder of such options reads cannot be mixed; empty where they can."""
    if kind not in MIXABLE:
        return f"{kind} cannot be blended"
    return "what its network reads is computed once" if getattr(config, "tune", "") == "head" else ""


def why_read_once(head: str, config: TrainingConfig, dataset: Dataset, column: str, options: Any = None) -> str:
    """Why what is said of two variations of a row of an input cannot be compared, by an encoder of such options; empty where it
    can."""
    if head != "ctc":
        return "its head says nothing step by step"
    if config.augment == "none" or not dataset.input(column).varies:
        return "its rows do not vary"
    if getattr(options, "tune", "") == "head":
        return "what its network reads is computed once"
    readers = dataset.readers(column)
    return f"{len(readers)} inputs share it" if len(readers) > 1 else ""


class _Step(Step):
    """An encoder and its head on one input, whose batches may be mixed, or hold two variations of each row."""

    module: ColumnModel

    def __init__(self, network: ColumnModel, column: str, mix: str, consistency: float = 0.0) -> None:
        super().__init__(network)
        self.column = column
        self.mix = mix
        self.consistency = consistency

    def outputs(self, batch: Batch) -> Any:
        return self.module(batch.inputs[self.column])

    def represent(self, batch: Batch) -> tuple[list[Tensor], Tensor | None]:
        """Of an encoder of many members while it trains, [B, members, D]."""
        pooled = self.module.fused(batch.inputs[self.column]).pooled
        return [pooled if len(pooled) == len(batch) else pooled.unflatten(0, (-1, len(batch))).transpose(0, 1)], None

    def compare(self, represented: list[Tensor], batch: Batch) -> Tensor:
        pooled = represented[0]
        fused = Fused(pooled if pooled.dim() == 2 else pooled.transpose(0, 1).flatten(0, 1))
        return self.module.loss(self.module.head(fused), fused, batch.targets)

    def begin(self, features: Tensor, targets: Tensor) -> None:
        self.module.head.begin(features, targets)

    def enrol(self, outputs: Any, targets: Tensor) -> None:
        self.module.head.enrol(outputs, targets)

    def forward(self, batch: Batch) -> Tensor:
        if self.consistency:
            return self._of_both(batch.inputs[self.column], batch.targets)
        signal, other, share = batch.inputs[self.column], None, 1.0
        if self.mix != "none":
            signal, other, share = mixed(signal, self.mix)
        fused = self.module.fused(signal)
        outputs = self.module.head(fused)
        own = self.module.loss(outputs, fused, batch.targets)
        return own if other is None else share * own + (1 - share) * self.module.loss(outputs, fused, batch.targets[other])

    def _of_both(self, signal: Signal, targets: Tensor) -> Tensor:
        """Of B rows varied twice, [2 B, ...]: the mean of both losses, and how far what is said of both lies apart, a unit."""
        fused = self.module.fused(signal)
        outputs = self.module.head(fused)
        own = self.module.loss(outputs, fused, targets.repeat(2, 1))
        units = (targets >= 0).sum(1).clamp(min=1)
        return own + self.consistency * (lattice.divergences(outputs) / units).mean()


def variation(source: str, encoder: Encoder, dataset: Dataset, strength: str, *, twice: bool = False) -> Augment | None:
    """How training batches of an input vary for an encoder; None where they do not. Before texts their pace varies too, but
    leaves each row the steps that its text needs. `twice`: all rows of one variation come before all of another, both at one
    pace, so that their steps are the same ones, and more of each is hidden."""
    found = dataset.input(source)
    if strength == "none" or not found.varies or not encoder.varies:
        return None
    how: Strength = "strong" if strength == "strong" else "light"
    if dataset.task.tokens != "whole":
        return lambda signal, _: found.augment(signal, how)

    def varied(signal: Signal, targets: Tensor) -> Signal:
        signal = found.stretch(signal, lattice.needed(targets) * encoder.stride)
        return found.hide(found.augment(signal.repeated(2), how)) if twice else found.augment(signal, how)

    return varied


def mixed(signal: Signal, how: str) -> tuple[Signal, Tensor, float]:
    """A batch with each row mixed with another, which one [B], and the share of the row's own.

    mixup blends them; cutmix puts a box of the other into the row (of sound: a stretch of time), its share being the rest.
    """
    values = signal.values.float()
    drawn = torch.randperm(len(values))
    other = sent(drawn, values.device)
    share = float(torch.distributions.Beta(0.4, 0.4).sample())
    if how == "mixup":
        values = share * values + (1 - share) * values[other]
    else:
        axes = values.shape[-2:] if values.dim() > 3 else values.shape[1:2]
        hidden = torch.ones(*axes, dtype=torch.bool)
        for axis, size in enumerate(axes):
            length = round(size * (1 - share) ** (1 / len(axes)))
            start = int(torch.randint(size - length + 1, ()))
            inside = torch.zeros(size, dtype=torch.bool)
            inside[start : start + length] = True
            hidden &= inside.reshape(-1, *[1] * (len(axes) - 1 - axis))
        share = 1 - float(hidden.float().mean())
        hidden = sent(hidden, values.device)
        values = torch.where(hidden if values.dim() > 3 else hidden[:, None], values[other], values)
    if signal.lengths is not None:
        values = values * signal.mask()[..., None]
    made = Signal(values, signal.present & signal.present[other], signal.lengths, signal.times)
    host = signal.host and Host(signal.host.present & signal.host.present[drawn], signal.host.lengths)
    return made.told(host), other, share
