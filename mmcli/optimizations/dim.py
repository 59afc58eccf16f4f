"""Vectors to compare of fewer numbers: their first principal axes on the train rows, so that a gallery takes less

The map is a layer behind the network, and behind the joined vectors where several models are averaged: graphs, galleries and
`predict` give the narrow vectors. How far two vectors are alike changes, so that the threshold is settled on val anew.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.models import calibration
from mmcli.models.forward import outputs_for
from mmcli.models.networks import FusedModel
from mmcli.optimizations import Candidate, Optimization, Workbench
from mmcli.vectors.embedded import Embedded
from mmcli.vectors.narrowed import Narrowed, axes, rows_of


class Config(BaseConfig):
    """Which widths."""

    widths: tuple[PositiveInt, ...] = Field((256, 128, 64, 32), min_length=1)
    """Numbers of a vector that are tried, where it has more."""


class FewerNumbers(Optimization):
    """The same network with vectors of each width that is narrower than its own."""

    family: ClassVar[Literal["smaller"]] = "smaller"
    for_vectors = True
    for_decisions = False
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:
        first = outputs_for(candidate.network, bench.dataset, bench.dataset.splits["train"][:1], bench.compute)
        wide = first.values.shape[-1]
        if any(width < wide for width in self.config.widths):
            return ""
        return f"its vectors have {wide} numbers: none of {', '.join(map(str, self.config.widths))} is fewer"

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        dataset, val = bench.dataset, bench.judged
        outputs = outputs_for(candidate.network, dataset, dataset.splits["train"], bench.compute)
        directions, held = axes(rows_of(outputs))
        for width in sorted({own for own in self.config.widths if own < len(directions)}, reverse=True):
            layer = Narrowed.of(directions[:, :width], outputs)
            network = copy.deepcopy(candidate.network)
            network.calibration = layer.to(bench.compute.device)
            recipe = candidate.recipe
            if isinstance(outputs, Embedded):
                empty(network)
                recipe = replace(recipe, slim=True)
                layer.settle(bench.val_outputs(network), dataset.targets[val])
            bench.extra[f"dim {width}"] = {"share_of_squared_length": round(float(held[width - 1]), 4)}
            kind, shape = calibration.described(layer)
            yield Candidate(f"dim {width}", network.eval(), replace(recipe, calibration=kind, calibration_shape=shape))


@torch.no_grad()
def empty(network: FusedModel) -> None:
    """Takes the enrolled out of all heads: the layer behind them keeps its own."""
    for module in network.modules():
        if isinstance(module, Narrowed) or not {"gallery", "identities"} <= set(dict(module.named_buffers(recurse=False))):
            continue
        _cut(module, "gallery")
        _cut(module, "identities")


def _cut(module: nn.Module, name: str) -> None:
    own: Tensor = getattr(module, name)
    module.register_buffer(name, own[:0].clone())
