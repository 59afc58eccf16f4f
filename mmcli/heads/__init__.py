"""What makes an answer of what is fused: one head a file, found by its name. Knows nothing of columns, encoders or the disk.

This file is their contract. A head is built from its `Config`, a task and the width of what it reads; it gives the task's
outputs and the loss that training minimises. A column by itself has a head over its own features, by the same contract. A task
names the heads that fit it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmcli.signals import Column, Fused
from mmcli.tasks import Task
from mmcli.text.reciter import Reciter
from mmcli.text.writer import Writer
from mmcli.text.writing import Member, Writing


class Head(nn.Module, ABC):
    """Fused features of width `dim` -> the outputs of a task."""

    reads_steps: ClassVar[bool] = False
    """Whether it reads tokens one by one, in the order of what they are of: then F must give such."""
    searches: ClassVar[bool] = False
    """Whether what it answers is searched for."""
    beam: int | None = None
    """Of heads whose answers take a search, how many are followed at once; may be changed after training."""

    def __init__(self, task: Task, dim: int) -> None:
        super().__init__()
        self.task = task
        self.dim = dim

    @staticmethod
    @abstractmethod
    def parameter_formula(config: Any, task: Task, dim: int) -> int:
        """How many parameters it has: the formula of its docstring, held against the module by a test."""

    @abstractmethod
    def forward(self, fused: Fused) -> Any:
        """Outputs of B rows, of the task's kind."""

    def loss(self, outputs: Any, fused: Fused, targets: Tensor) -> Tensor:  # noqa: ARG002 - for those that look at tokens
        """What training minimises, a scalar; `outputs` are what `forward` gave for `fused`."""
        return self.task.loss(outputs, targets)

    def affine(self) -> nn.Linear | None:
        """Of a head that answers by one linear layer over the pooled features: that layer."""
        return None

    def begin(self, features: Tensor, targets: Tensor) -> None:  # noqa: ARG002 - most begin at random
        """Starts from the features [N, F] of train rows, before the first step."""
        return

    def enrol(self, outputs: Any, targets: Tensor) -> None:  # noqa: ARG002 - most look at a row by itself
        """Keeps the outputs of train rows, with which those of others are compared."""
        return

    def settle(self, outputs: Any, targets: Tensor) -> None:  # noqa: ARG002 - most have nothing to set
        """Sets what the trained head decides by (thresholds), from val outputs and targets."""
        return

    def settle_beam(self, width: int, outputs: Any, targets: Tensor) -> None:
        """`settle` for a search of that width, of heads that search."""
        raise NotImplementedError

    def start_small(self, factor: float) -> None:
        """Lets it say little at first, where the columns' own predictions are added to what it says."""
        self.amplify(factor)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.bias.data.zero_()

    def amplify(self, factor: float) -> None:
        """Lets it say the same, so many times as loud: its linear layers, of which most heads have one."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.data.mul_(factor)
                layer.bias.data.mul_(factor)


class Writes(Head):
    """For heads whose answers are written unit by unit, looking at a memory that they make of each row.

    `settle` chooses the power of the length that log-probabilities are divided by, and the confidence of what is written."""

    searches = True

    def __init__(self, task: Task, dim: int, writer: Writer | Reciter, beam: int, ctc_weight: float = 0.0) -> None:
        super().__init__(task, dim)
        self.writer = writer
        self.beam: int = beam
        self.ctc_weight = ctc_weight
        """Of reading the memory by CTC besides, in the search."""
        self.exponent: Tensor
        self.certainty: Tensor
        self.register_buffer("exponent", torch.ones(()))
        self.register_buffer("certainty", torch.full((2,), torch.nan))

    @abstractmethod
    def memory(self, fused: Fused) -> tuple[Tensor, Tensor, Tensor]:
        """What is looked at [B, S, M], which of it is there (bool [B, S]), and how many units a text may have [B]."""

    def forward(self, fused: Fused) -> Writing:
        tokens, mask, limits = self.memory(fused)
        lengths = mask.sum(1)
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        memory = Column(tokens[mask], torch.ones_like(lengths, dtype=torch.bool), offsets)
        rows = torch.arange(len(lengths), device=lengths.device)
        batch = (rows, tokens, mask) if self.training else None
        return Writing(
            (Member(self.writer, memory, torch.ones((), device=tokens.device), batch=batch),),
            rows,
            limits,
            self.beam,
            float(self.exponent),
            self.ctc_weight,
            self.sure,
        )

    @property
    def sure(self) -> tuple[float, float] | None:
        """Slope and intercept of the confidence; None until it is settled."""
        slope, intercept = self.certainty.tolist()
        return None if math.isnan(slope + intercept) else (slope, intercept)

    def settle(self, outputs: Writing, targets: Tensor) -> None:
        """How texts are ranked by their length, and how sure one may be of the best: by those of val."""
        exponent = self.task.length_exponent(outputs, targets)  # type: ignore[attr-defined]
        self.exponent.fill_(exponent)
        ranked = replace(outputs, exponent=exponent)
        self.certainty.copy_(torch.tensor(self.task.certainty(ranked, targets)))  # type: ignore[attr-defined]

    def settle_beam(self, width: int, outputs: Writing, targets: Tensor) -> None:
        self.beam = width
        self.settle(replace(outputs, width=width), targets)


class Decisions(Head):
    """For methods that fuse decisions: there is nothing left to learn. Parameters: 0."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, task.decision.width)
        self.decide = task.decision_head()

    @staticmethod
    def parameter_formula(config: Any, task: Task, dim: int) -> int:  # noqa: ARG004
        return 0

    def forward(self, fused: Fused) -> Tensor:
        outputs: Tensor = self.decide(fused.logits)
        return outputs

    def settle(self, outputs: Tensor, targets: Tensor) -> None:
        self.task.settle(self.decide, outputs, targets)


Contract = Head
__all__ = ["Contract", "Decisions", "Head", "Writes"]
