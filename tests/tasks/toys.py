"""Kinds of target that mmcli does not have yet: answers that are texts, and answers that are vectors to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.heads import Head
from mmcli.reporting.metrics import Metric
from mmcli.signals import Column, Fused, Outputs
from mmcli.tasks import Cells, Likeness, Task


@dataclass(frozen=True)
class Written:
    """Ids of B texts, one after the other, and how probable each text is."""

    ids: Column
    log_probability: Tensor


class Texts(Outputs):
    words = "texts"

    def rows(self, outputs: Written) -> int:
        return len(outputs.log_probability)

    def gather(self, outputs: Written, index: Tensor) -> Written:
        return Written(outputs.ids.select(index), outputs.log_probability[index])

    def join(self, parts: Sequence[Written]) -> Written:
        return Written(Column.concatenate([own.ids for own in parts]), torch.cat([own.log_probability for own in parts]))

    def mean(self, each: Sequence[Written], shares: Tensor) -> Written:
        """The text that is most probable, each model's by its share."""
        scores = torch.stack([own.log_probability + share.log() for own, share in zip(each, shares, strict=True)])
        best, rows = scores.argmax(0), range(self.rows(each[0]))
        return self.join([self.gather(each[int(best[row])], torch.tensor([row])) for row in rows])

    def plain(self, outputs: Written) -> Written:
        return Written(outputs.ids, outputs.log_probability.detach().float())

    def to(self, outputs: Written, device: torch.device) -> Written:
        return Written(outputs.ids.to(device), outputs.log_probability.to(device))

    def save(self, outputs: Written, name: str = "outputs") -> dict[str, Tensor]:
        assert outputs.ids.offsets is not None
        parts = {"ids": outputs.ids.values, "offsets": outputs.ids.offsets, "log_probability": outputs.log_probability}
        return {f"{name}.{key}": tensor for key, tensor in parts.items()}

    def load(self, named: Mapping[str, Tensor], name: str = "outputs") -> Written:
        offsets = named[f"{name}.offsets"]
        ids = Column(named[f"{name}.ids"], torch.ones(len(offsets) - 1, dtype=torch.bool), offsets)
        return Written(ids, named[f"{name}.log_probability"])


class Counting(Head):
    """Writes a row's text: as many letters as its first feature says, each the row's second."""

    def __init__(self, task: Task, dim: int) -> None:
        super().__init__(task, dim)
        self.scale = nn.Parameter(torch.ones(()))

    @staticmethod
    def parameter_formula(config: Any, task: Task, dim: int) -> int:
        return 1

    def forward(self, fused: Fused) -> Written:
        lengths = fused.pooled[:, 0].long()
        ids = fused.pooled[:, 1].long().repeat_interleave(lengths)
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        return Written(Column(ids, torch.ones(len(lengths), dtype=torch.bool), offsets), -self.scale * fused.pooled[:, 2])

    def loss(self, outputs: Written, fused: Fused, targets: Tensor) -> Tensor:
        return -outputs.log_probability.mean()


class Spelling(Task):
    """What is predicted is a text."""

    outputs: ClassVar[Outputs] = Texts()
    heads: ClassVar[tuple[str, ...]] = ()
    features_may_be_swapped: ClassVar[bool] = False
    fusion_families: ClassVar[tuple[str, ...] | None] = ("token",)
    tokens = "whole"
    reference_baseline: ClassVar[str] = "majority"

    def __init__(self, config: BaseConfig | None = None) -> None:
        self.config = config or BaseConfig()

    @classmethod
    def sniff(cls, config: Any, cells: Cells) -> Likeness:
        return Likeness(0.0, "never by itself")

    @classmethod
    def strata(cls, config: Any, cells: Cells) -> list[str]:
        return [""] * len(cells)

    @classmethod
    def fit(cls, config: Any, cells: Cells, names: Sequence[str]) -> Self:
        return cls(config)

    @property
    def metrics(self) -> dict[str, bool]:
        return {"exact": True}

    @property
    def primary_metric(self) -> str:
        return "exact"

    def encode(self, cells: Cells) -> Tensor:
        return torch.tensor([len(cell or "") for (cell,) in cells])

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        raise AssertionError("the head has a loss of its own")

    def measures(self) -> dict[str, Metric]:
        def exact(predicted: Any, right: Any, weights: Any) -> Any:
            return ((predicted == right) * weights).sum(1) / weights.sum(1)

        return {"exact": exact, "loss": lambda predicted, right, weights: 1 - exact(predicted, right, weights)}

    def readings(self, outputs: Written, targets: Tensor) -> tuple[Any, Any]:
        assert outputs.ids.lengths is not None
        return outputs.ids.lengths.numpy(), targets.numpy()

    def decode(self, outputs: Written) -> dict[str, list[Any]]:
        rows = range(len(outputs.log_probability))
        return {"": ["".join(map(str, outputs.ids.select(torch.tensor([row])).values.tolist())) for row in rows]}

    def summary(self) -> str:
        return "texts"

    def draw(self, outputs: Any, targets: Tensor, *more: Any) -> Any:
        return {}

    def constant_baseline(self, targets: Tensor, rows: int) -> Written:
        none = Column(torch.zeros(0, dtype=torch.int64), torch.ones(rows, dtype=torch.bool), torch.zeros(rows + 1).long())
        return Written(none, torch.zeros(rows))

    def state(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls()


class Recognising(Spelling):
    """What is predicted is a vector, to be compared with those of other rows."""

    outputs: ClassVar[Outputs] = Task.outputs
    gives_embeddings: ClassVar[bool] = True
    compares_rows: ClassVar[bool] = True
    fusion_families: ClassVar[tuple[str, ...] | None] = ("feature", "token")
