"""Boosted trees over a form as a member of a fused model: an encoder whose features are their decision, a sum of one term."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.signals import Kind, Signal, SignalSpec
from mmcli.vectors.trees import Forest


class Config(BaseConfig):
    """How many there are."""

    dim: int = Field(ge=1)
    """Numbers that decide."""
    trees: int = Field(ge=1)
    """Trees, of all of these."""
    nodes: int = Field(ge=1)
    """Nodes of all trees."""
    depth: int = Field(ge=1, le=256)
    """Questions that a row is asked at most."""


class Trees(Encoder):
    """Fields [F] -> one token, the decision. Parameters: D, what stands for an absent form; trees are buffers."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"fields"})
    keeps_order: ClassVar[bool] = False
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    astray: Tensor
    value: Tensor
    root: Tensor
    column: Tensor
    bias: Tensor

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.dim)
        self.config = config
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(config.nodes, dtype=torch.int64))
        self.register_buffer("astray", torch.zeros(config.nodes, dtype=torch.uint8))
        for name in ("threshold", "value"):
            self.register_buffer(name, torch.zeros(config.nodes))
        for name in ("root", "column"):
            self.register_buffer(name, torch.zeros(config.trees, dtype=torch.int64))
        self.register_buffer("bias", torch.zeros(config.dim))

    @staticmethod
    def parameter_formula(config: Any, spec: SignalSpec) -> int:  # noqa: ARG004
        dim: int = config.dim
        return dim

    @classmethod
    def of(cls, forest: Forest, spec: SignalSpec) -> Trees:
        """The encoder of these trees."""
        config = Config(dim=len(forest.bias), trees=len(forest.root), nodes=len(forest.feature), depth=forest.depth)
        made = cls(config, spec)
        for name in ("feature", "threshold", "left", "right", "astray", "value", "root", "column", "bias"):
            getattr(made, name).copy_(torch.from_numpy(getattr(forest, name)))
        return made

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        values = signal.values.float()
        missing, values = values.isnan(), values.nan_to_num()
        node = self.root[None].expand(values.shape[0], -1)
        for _ in range(self.config.depth):
            place = self.feature[node]
            lower, gone = values.gather(1, place) <= self.threshold[node], missing.gather(1, place)
            goes = (gone & (self.astray[node] > 0)) | (lower & ~gone)  # ONNX Runtime chooses among no booleans
            node = torch.where(goes, self.left[node], self.right[node])
        owns = nn.functional.one_hot(self.column, self.dim).float()
        pooled = self.value[node] @ owns + self.bias
        return pooled, pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool)
