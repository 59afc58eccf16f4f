"""Whether texts fit into the steps that an encoder leaves of their rows: told before any training."""

from __future__ import annotations

import torch
from torch import Tensor

from mmcli.data.dataset import Dataset
from mmcli.models.networks import ColumnModel
from mmcli.reporting.console import Console
from mmcli.signals import Column, Source
from mmcli.text.ctc import needed_steps

FIRST = 64
"""Rows that are looked at first: those that are the likeliest to be too short."""
MUCH = 0.01
"""Share of the rows from which on it matters."""


def say_too_short(label: str, network: ColumnModel, prepared: Source, dataset: Dataset, console: Console) -> int:
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
    first = order[:FIRST]
    short = first[_steps(network, prepared, train[first]) < needed[first]]
    if len(short) == len(first) and len(order) > FIRST:
        short = order[_steps(network, prepared, train[order]) < needed[order]]
    if not len(short):
        return 0
    row = int(short[0])
    steps = int(_steps(network, prepared, train[short[:1]])[0])
    text = (
        f"{label}: {len(short):,} of {len(train):,} train rows have texts that do not fit into the steps left "
        f"of them (row {int(train[row]) + 1}: {int(needed[row])} units, {steps} steps); they teach nothing"
    )
    larger = "a larger --image-size" if lengths is None else "shorter units"
    console.warn(
        text + (f". Preprocess with --target-units word or bpe, or {larger}" if len(short) > MUCH * len(train) else "")
    )
    return len(short)


@torch.no_grad()
def _steps(network: ColumnModel, prepared: Source, rows: Tensor) -> Tensor:
    """How many steps the encoder leaves of each row."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for part in rows.split(128):
        index = part.to(prepared.present.device) if isinstance(prepared, Column) else part
        parts.append(network.encoder(prepared.gather(index).to(device)).mask.sum(1).cpu())
    return torch.cat(parts)
