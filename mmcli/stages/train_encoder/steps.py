"""Whether texts fit into the steps that an encoder leaves of their rows: told before any training."""

from __future__ import annotations

import torch
from torch import Tensor

from mmcli.data.dataset import Dataset
from mmcli.models.networks import ColumnModel, SharedModel
from mmcli.reporting.console import Console
from mmcli.signals import Column, Source
from mmcli.text.ctc import needed_steps

FIRST = 64
"""Rows that are looked at first, those that are the likeliest to be too short; all are counted only if one of them is."""
MUCH = 0.01
"""Share of the rows from which on it matters."""


def say_too_short(label: str, network: ColumnModel | SharedModel, prepared: Source, dataset: Dataset, console: Console) -> int:
    """Warns of train rows whose text has more units than the encoder leaves steps of them: they teach nothing. Gives their
    number."""
    train = dataset.splits["train"]
    train = train[prepared.present.cpu()[train]]
    if not network.head.reads_steps or not len(train):
        return 0
    needed = torch.tensor([needed_steps([unit for unit in row if unit >= 0]) for row in dataset.targets[train].tolist()])
    lengths = prepared.lengths
    room = torch.ones(len(train)) if lengths is None else lengths.cpu()[train].float()
    order = (needed / room.clamp(min=1)).argsort(descending=True)
    if not len(_short(network, prepared, train, needed, order[:FIRST])):
        return 0
    short = _short(network, prepared, train, needed, order)
    row = short[:1]
    steps = int(_steps(network, prepared, train[row]))
    text = (
        f"{label}: {len(short):,} of {len(train):,} train rows have texts that do not fit into the steps left of them (row "
        f"{int(train[row]) + 1}: {int(needed[row])} units, {steps} steps); they teach nothing"
    )
    if len(short) > MUCH * len(train):
        text += ". Preprocess with --target-units word or bpe" + (", or a larger --image-size" if lengths is None else "")
    console.warn(text)
    return len(short)


def _short(network: ColumnModel | SharedModel, prepared: Source, train: Tensor, needed: Tensor, places: Tensor) -> Tensor:
    """Those of some places among the train rows whose text needs more steps than there are."""
    return places[_steps(network, prepared, train[places]) < needed[places]]


@torch.no_grad()
def _steps(network: ColumnModel | SharedModel, prepared: Source, rows: Tensor) -> Tensor:
    """How many steps the encoder leaves of each row."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for part in rows.split(128):
        index = part.to(prepared.present.device) if isinstance(prepared, Column) else part
        parts.append(network.encoder(prepared.gather(index).to(device)).mask.sum(1).cpu())
    return torch.cat(parts)
