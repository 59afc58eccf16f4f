"""A linear reader of frames: means of a few, side by side, through one layer, trained by CTC (Graves 2006) for so many steps.

What a network has to beat: there is no hidden layer and nothing is remembered from frame to frame.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.layers.optimizers import Adam
from mmcli.signals import Column, Source
from mmcli.text import lattice
from mmcli.text.targets import unpadded
from mmcli.text.viterbi import needed_steps

STACK = 9
"""Steps that are read side by side, the own one in the middle."""
STRIDES = (4, 2, 1)
"""Frames whose mean is a step: the most that leave nearly all texts the steps that they need."""
FITS = 0.99
STEPS, BATCH, RATE, EVERY = 600, 32, 0.02, 50


def lattices(source: Source, targets: Tensor, train: Tensor, val: Tensor, width: int, seed: int = 0) -> Column:
    """Log-probabilities of `width` units (0 is the blank) at each step of all rows of a ragged `source` of frames [T, D].

    Fitted on the rows `train`; the state of the least loss on `val` is kept. The same seed gives the same bits."""
    assert source.lengths is not None
    stride = _stride(source.lengths[train], targets[train])
    features = int(source.gather(train[:1]).values.shape[2]) * STACK
    weight = torch.zeros(features + 1, width, requires_grad=True)
    generator = torch.Generator().manual_seed(seed)
    learner = Adam([weight], lr=RATE)
    best, least = weight.detach().clone(), float("inf")
    for step in range(1, STEPS + 1):
        index = train[torch.randint(len(train), (BATCH,), generator=generator)]
        learner.param_groups[0]["lr"] = RATE * (1 - (step - 1) / STEPS)
        loss = _loss(source, targets, index, weight, stride)
        learner.zero_grad()
        loss.backward()
        learner.step()
        if step % EVERY == 0:
            found = _val_loss(source, targets, val[:512], weight.detach(), stride)
            best, least = (weight.detach().clone(), found) if found <= least else (best, least)
    parts = [_read(source, part, best, stride) for part in torch.arange(len(source)).split(256)]
    return Column.concatenate(parts)


def _stride(lengths: Tensor, targets: Tensor) -> int:
    needed = torch.tensor([needed_steps(ids) for ids in unpadded(targets)])
    fitting = [stride for stride in STRIDES if (_steps(lengths, stride) >= needed).float().mean() >= FITS]
    return fitting[0] if fitting else STRIDES[-1]


def _steps(lengths: Tensor, stride: int) -> Tensor:
    return ((lengths + stride - 1) // stride).clamp(min=1)


def _read(source: Source, index: Tensor, weight: Tensor, stride: int) -> Column:
    """Of those rows; what is absent is read as one step of silence."""
    signal = source.gather(index)
    assert signal.lengths is not None
    steps = _steps(signal.lengths.cpu(), stride)
    frames = signal.values.cpu().float() * signal.mask().cpu()[..., None]
    means = F.pad(frames, (0, 0, 0, -frames.shape[1] % stride)).unflatten(1, (-1, stride)).mean(2)
    stacks = F.pad(means, (0, 0, STACK // 2, STACK // 2)).unfold(1, STACK, 1).flatten(2)  # [B, T', D * STACK]
    values = (stacks @ weight[:-1] + weight[-1]).log_softmax(-1)
    real = torch.arange(values.shape[1])[None] < steps[:, None]
    offsets = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    return Column(values[real], torch.ones(len(index), dtype=torch.bool), offsets)


def _loss(source: Source, targets: Tensor, index: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Mean over the rows of the loss a unit."""
    units = (targets[index] >= 0).sum(1).clamp(min=1)
    return (lattice.losses(_read(source, index, weight, stride), targets[index]) / units).mean()


@torch.no_grad()
def _val_loss(source: Source, targets: Tensor, val: Tensor, weight: Tensor, stride: int) -> float:
    found = [_loss(source, targets, part, weight, stride) * len(part) for part in val.split(128)]
    return float(torch.stack(found).sum() / max(len(val), 1)) if found else float("inf")
