"""A text written unit by unit, looking at the tokens of what is fused: the decoder of a transformer (Vaswani 2017)"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError
from mmcli.heads import Writes
from mmcli.signals import Fused
from mmcli.tasks import Task
from mmcli.text.writer import Sizes, Writer
from mmcli.text.writing import Writing, forced

ROOM, MORE = 1.25, 4
"""A text may be so many times as long as the longest of train, and so many units longer; the same by the tokens it is of."""
PARTS = 1000
"""Units a token are counted in such parts."""


class Config(BaseConfig):
    """How wide and deep, and how it is taught and searched."""

    dim: int = Field(128, ge=2)
    """Width; even."""
    heads: int = Field(4, ge=1)
    """Attention heads; they divide the width."""
    layers: int = Field(3, ge=1)
    """Layers."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the units and in every layer."""
    smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of each unit's probability that training spreads over all units."""
    ctc_weight: float = Field(0.0, ge=0, lt=1)
    """Weight of reading the tokens by CTC besides, in the loss and in the search (Watanabe 2017): for tokens in order."""
    beam: int = Field(4, ge=1, le=64)
    """Texts that are followed at once while writing; 1 takes the likeliest unit at each step."""


class Decoder(Writes):
    """`text.writer.Writer` over the tokens; of a row without any, its pooled features are the only one. Parameters: see
    `text.writer.Sizes`.

    loss = (1 - w) (-log p(target), smoothed, a unit) + w (-log CTC, a unit), the latter in rows with tokens enough. A text is
    cut where it is longer than those of train would be. `settle` chooses the power of the length that log-probabilities are
    divided by, and the confidence of what is written."""

    def __init__(self, config: Config, task: Task, dim: int) -> None:
        if config.dim % config.heads or config.dim % 2:
            raise ConfigError(f"head.decoder: heads = {config.heads} does not divide dim = {config.dim}, or dim is odd")
        super().__init__(task, dim, Writer(_sizes(config, task, dim), config.dropout), config.beam, config.ctc_weight)
        self.config = config
        self.longest: Tensor
        self.ratio: Tensor
        self.register_buffer("longest", torch.zeros((), dtype=torch.int64))  # units of a train text
        self.register_buffer("ratio", torch.zeros((), dtype=torch.int64))  # parts of a unit to a token, at most

    @staticmethod
    def parameter_formula(config: Config, task: Task, dim: int) -> int:
        return _sizes(config, task, dim).parameters

    def memory(self, fused: Fused) -> tuple[Tensor, Tensor, Tensor]:
        tokens, mask = fused.tokens, fused.mask
        if tokens is None or mask is None:
            tokens = fused.pooled[:, None]
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        else:
            first = (torch.arange(mask.shape[1], device=mask.device)[None] == 0) & ~mask.any(1, keepdim=True)
            tokens, mask = torch.where(first[:, :, None], fused.pooled[:, None], tokens), mask | first
        return tokens, mask, self._limits(mask.sum(1))

    def _limits(self, lengths: Tensor) -> Tensor:
        """Units that texts of so many tokens may have."""
        known: int = self.task.units.longest  # type: ignore[attr-defined]
        longest = torch.where(self.longest > 0, self.longest, known)
        by_tokens = torch.where(self.ratio > 0, self.ratio * lengths / PARTS, longest)
        return (ROOM * torch.minimum(longest, by_tokens)).ceil().long() + MORE

    def loss(self, outputs: Writing, fused: Fused, targets: Tensor) -> Tensor:  # noqa: ARG002 - all is in the outputs
        counts = (targets >= 0).sum(1)
        if self.training:
            self._note(outputs, counts)
        own = forced(outputs, targets, self.config.smoothing if self.training else 0.0) / (counts + 1)
        weight = self.ctc_weight
        if not weight:
            return own.mean()
        return (1 - weight) * own.mean() + weight * self._read(outputs, targets, counts)

    @torch.no_grad()
    def _note(self, outputs: Writing, counts: Tensor) -> None:
        """How long texts are, for their limits."""
        lengths = outputs.members[0].memory.lengths
        assert lengths is not None
        parts = (PARTS * counts / lengths).ceil().long().max()
        self.longest.copy_(torch.maximum(self.longest, counts.max()))
        self.ratio.copy_(torch.maximum(self.ratio, parts))

    def _read(self, outputs: Writing, targets: Tensor, counts: Tensor) -> Tensor:
        """The mean of CTC's loss a unit; zero for rows whose tokens are too few."""
        member = outputs.members[0]
        assert isinstance(member.writer, Writer)
        memory = member.memory.gather(outputs.rows)
        assert memory.lengths is not None
        found = F.ctc_loss(
            member.writer.read(memory.values).transpose(0, 1),
            targets.clamp(min=0),
            memory.lengths,
            counts,
            reduction="none",
            zero_infinity=True,
        )
        return (found / counts.clamp(min=1)).mean()


def _sizes(config: Config, task: Task, dim: int) -> Sizes:
    units: int = task.width  # type: ignore[attr-defined]
    return Sizes(units, dim, config.dim, config.layers, config.heads, int(config.ctc_weight > 0))
