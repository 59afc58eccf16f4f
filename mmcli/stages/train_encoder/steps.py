"""Whether texts fit into the steps that an encoder leaves of their rows: told before any training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmcli import registry
from mmcli.data.dataset import Dataset
from mmcli.models.columns import ColumnModel, SharedModel
from mmcli.models.towers import TowerModel
from mmcli.reporting.console import Console
from mmcli.reporting.counts import agreed, counted
from mmcli.signals import Column, Source
from mmcli.text import lattice

FIRST = 64
"""Rows that are looked at first, those that are the likeliest to be too short; all are counted only if one of them is."""
MUCH = 0.01
"""Share of the rows from which on it matters."""


def with_room(config: Any, head: Mapping[str, Any], column: str, dataset: Dataset) -> tuple[Any, str]:
    """The options of an encoder with a `stride` of 4, or with one of 2 where more than `MUCH` of the train rows have texts that
    need more than a step for each 4 of theirs; and then why."""
    source, train = dataset.column(column), dataset.splits["train"]
    train = train[source.present.cpu()[train]]
    if not registry.load("heads", head["name"]).reads_steps or not len(train):
        return config, ""
    needed = lattice.needed(dataset.targets[train])
    steps = torch.tensor(dataset.input(column).spec.shape[-1]) if source.lengths is None else source.lengths.cpu()[train]
    short, still = (int((needed > (steps + stride - 1) // stride).sum()) for stride in (4, 2))
    if short <= MUCH * len(train):
        return config, ""
    what = "columns of pixels" if source.lengths is None else "frames"
    why = f"texts of {short:,} of {len(train):,} train rows need more than a step for 4 {what} (of {still:,} more than for 2)"
    return config.model_copy(update={"stride": 2}), f"{why}: its stride is 2"


Network = ColumnModel | SharedModel | TowerModel


def say_too_short(label: str, network: Network, prepared: Source, dataset: Dataset, console: Console) -> int:
    """Warns of train rows whose text has more units than the encoder leaves steps of them: they teach nothing. Gives their
    number."""
    train = dataset.splits["train"]
    train = train[prepared.present.cpu()[train]]
    if not network.head.reads_steps or not len(train):
        return 0
    needed = lattice.needed(dataset.targets[train])
    lengths = prepared.lengths
    room = torch.ones(len(train)) if lengths is None else lengths.cpu()[train].float()
    order = (needed / room.clamp(min=1)).argsort(descending=True)
    if not len(_short(network, prepared, train, needed, order[:FIRST])):
        return 0
    short = _short(network, prepared, train, needed, order)
    row = short[:1]
    steps = int(_steps(network, prepared, train[row]))
    text = (
        f"{label}: {len(short):,} of {len(train):,} train rows {agreed(len(short), 'have')} texts that do not fit into the "
        f"steps left of them (row {int(train[row]) + 1}: {counted(int(needed[row]), 'unit')}, {counted(steps, 'step')}); "
        "they teach nothing"
    )
    if len(short) > MUCH * len(train):
        text += ". Preprocess with --target-units word or bpe" + (", or a larger --image-size" if lengths is None else "")
    console.warn(text)
    return len(short)


def _short(network: Network, prepared: Source, train: Tensor, needed: Tensor, places: Tensor) -> Tensor:
    """Those of some places among the train rows whose text needs more steps than there are."""
    return places[_steps(network, prepared, train[places]) < needed[places]]


@torch.no_grad()
def _steps(network: Network, prepared: Source, rows: Tensor) -> Tensor:
    """How many steps the encoder leaves of each row."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for part in rows.split(128):
        index = part.to(prepared.present.device) if isinstance(prepared, Column) else part
        parts.append(network.encoder(prepared.gather(index).to(device)).mask.sum(1).cpu())
    return torch.cat(parts)
