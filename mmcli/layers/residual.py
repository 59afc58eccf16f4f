"""Residual stacks of convolutions, over grids and over ragged spectrograms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Normalise, activate, convolve, twice, around a shortcut (He 2016). `keep` [B, 1, 1, W] blanks what is padding; `stride`
    is that over rows and that over columns."""

    def __init__(self, inner: int, outer: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.stride = stride
        changes = inner != outer or stride != (1, 1)
        # Strided by taking every second pixel first: the same values. A 1x1 convolution of stride 2 over channels-last batches
        # of odd size corrupts memory in the backward pass of oneDNN (torch 2.15, two threads or more).
        self.shortcut = nn.Conv2d(inner, outer, 1, bias=False) if changes else nn.Identity()

    def forward(self, grid: Tensor, keep: Tensor | None = None, keep_after: Tensor | None = None) -> Tensor:
        active = _kept(F.relu(self.norm1(grid)), keep)
        hidden: Tensor = self.conv2(_kept(F.relu(self.norm2(self.conv1(active))), keep_after))
        passed = active[..., :: self.stride[0], :: self.stride[1]] if isinstance(self.shortcut, nn.Conv2d) else grid
        shortcut: Tensor = self.shortcut(passed)
        return _kept(hidden + shortcut, keep_after)


FINE = 48
"""Pixels a side from which on the first convolution takes every fourth: at 64 a third of the time for the same accuracy."""


def stem_for(shape: Sequence[int], asked: int = 0) -> int:
    """The stride of the first convolution over pictures of a shape [..., H, W]: as asked, or by their size."""
    return asked or (4 if min(shape[-2:]) >= FINE else 2)


class ResidualStack(nn.Module):
    """A convolution of stride `stem`, then stages of residual blocks, each stage but the first of stride 2 (over columns
    `along`) and twice as wide. The first sees 2 stem - 1 pixels a side."""

    def __init__(self, channels: int, width: int, stages: int, blocks: int, along: int = 2, stem: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 2 * stem - 1, stride=stem, padding=stem - 1, bias=False)
        layers, inner = [], width
        for stage in range(stages):
            for block in range(blocks):
                layers.append(ResidualBlock(inner, width * 2**stage, stride=(2, along) if stage and not block else (1, 1)))
                inner = width * 2**stage
        self.blocks = nn.ModuleList(layers)
        self.norm = nn.BatchNorm2d(inner)

    @staticmethod
    def parameter_formula(channels: int, width: int, stages: int, blocks: int, stem: int = 2) -> int:
        total: int = (2 * stem - 1) ** 2 * channels * width
        inner: int = width
        for stage in range(stages):
            outer: int = width * 2**stage
            for _ in range(blocks):
                total += 9 * inner * outer + 9 * outer * outer + 2 * (inner + outer) + (inner != outer) * inner * outer
                inner = outer
        return total + 2 * inner

    def forward(self, grid: Tensor) -> Tensor:
        hidden = self.stem(grid)
        for block in self.blocks:
            hidden = block(hidden)
        return F.relu(self.norm(hidden))

    def left(self, lengths: Tensor) -> Tensor:
        """How many columns of its own a row has in the feature map, of so many in the grid."""
        lengths = (lengths + 1) // 2
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            lengths = (lengths + block.stride[1] - 1) // block.stride[1]
        return lengths

    def masked(self, grid: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same where row i has only `lengths[i]` columns of its own: the feature map, and the lengths in it."""
        lengths = (lengths + 1) // 2
        hidden = _kept(self.stem(grid), _columns(lengths, (grid.shape[-1] + 1) // 2))
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            before = _columns(lengths, hidden.shape[-1])
            stride = block.stride[1]
            lengths = (lengths + stride - 1) // stride
            hidden = block(hidden, before, _columns(lengths, (hidden.shape[-1] + stride - 1) // stride))
        return _kept(F.relu(self.norm(hidden)), _columns(lengths, hidden.shape[-1])), lengths


def _columns(lengths: Tensor, width: int) -> Tensor:
    return (torch.arange(width, device=lengths.device) < lengths[:, None])[:, None, None]


def _kept(grid: Tensor, keep: Tensor | None) -> Tensor:
    return grid if keep is None else grid * keep.to(grid.dtype)
