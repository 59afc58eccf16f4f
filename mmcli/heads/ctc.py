"""A text along the steps of what is fused, with blanks between: connectionist temporal classification (CTC, Graves 2006)"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.heads import Head
from mmcli.signals import Column, Fused
from mmcli.tasks import Task
from mmcli.text.lattice import Padded, Search


class Config(BaseConfig):
    """What is dropped before it."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the steps that it reads."""


class Ctc(Head):
    """log softmax(W x_t + b) of each step. Parameters: (D + 1) V, for V units with the blank. What texts are searched by, once
    it is settled, is in its buffer, and goes with its outputs."""

    reads_steps = True
    searches = True

    def __init__(self, config: Config, task: Task, dim: int) -> None:
        super().__init__(task, dim)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(dim, task.width)  # type: ignore[attr-defined]
        self.search: Tensor
        self.register_buffer("search", Search().tensor())

    @staticmethod
    def parameter_formula(config: Config, task: Task, dim: int) -> int:  # noqa: ARG004
        width: int = task.width  # type: ignore[attr-defined]
        return (dim + 1) * width

    def forward(self, fused: Fused) -> Any:
        """Of a row without steps its pooled features are the only one. A graph gives `Padded` lattices."""
        tokens, mask = fused.tokens, fused.mask
        if tokens is None or mask is None:
            tokens = fused.pooled[:, None]
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        values = self.linear(self.dropout(tokens)).float().log_softmax(-1)
        made = Padded(values, mask.sum(1))
        return made if torch.compiler.is_exporting() else made.ragged(self.search.clone())

    @property
    def beam(self) -> int | None:
        """Prefixes that its search keeps; None where it is greedy."""
        kept = round(float(self.search[0]))
        return kept if kept > 1 else None

    @beam.setter
    def beam(self, width: int | None) -> None:
        self.search[0] = width or 1

    def loss(self, outputs: Column, fused: Fused, targets: Tensor) -> Tensor:  # noqa: ARG002 - all is in the outputs
        return self.task.loss(outputs, targets)

    def settle(self, outputs: Column, targets: Tensor) -> None:
        """The search: see `text.searching`."""
        self.search.copy_(self.task.tuned(outputs, targets).tensor())  # type: ignore[attr-defined]

    def settle_beam(self, width: int, outputs: Column, targets: Tensor) -> None:
        """The same, by a beam of that width; greedy where val is no better for it."""
        self.search.copy_(self.task.tuned(outputs, targets, width).tensor())  # type: ignore[attr-defined]
