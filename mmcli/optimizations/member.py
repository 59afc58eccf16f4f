"""One of several averaged fusions by itself: the one that is best on val"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from torch import nn

from mmcli.config import Config as BaseConfig
from mmcli.models import calibration
from mmcli.models.networks import AveragedHeads, FusedModel
from mmcli.optimizations import Candidate, Optimization, Workbench


class Config(BaseConfig):
    """Nothing to choose."""


class SingleMember(Optimization):
    """Cheaper by the other fusions, and by the encoders that they alone read."""

    family: ClassVar[Literal["smaller"]] = "smaller"
    for_any_answer = True
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        return "" if len(candidate.recipe.members) > 1 else "there is one fusion"

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        network, recipe = candidate.network, candidate.recipe
        heads = network.fusion_head
        assert isinstance(heads, AveragedHeads)
        found = []
        for member, head in zip(recipe.members, heads.each, strict=True):
            encoders = copy.deepcopy({name: network.encoder(name) for name in member.encoders})  # what is shared stays so
            head = copy.deepcopy(head)
            head.temperature *= heads.temperature
            kept = {name: own for name, own in network.own_heads().items() if name in member.encoders}
            own_heads = copy.deepcopy(kept) if kept and head.reads_outputs else None
            layer: nn.Module = copy.deepcopy(network.calibration)
            alone = FusedModel(encoders, head, own_heads, layer).to(bench.compute.device).eval()
            kind, shape = calibration.described(layer)
            own = recipe.with_members([member], recipe.encoders)
            own = replace(own, encoders={name: recipe.encoders[name] for name in member.encoders})
            found.append((alone, replace(own, calibration=kind, calibration_shape=shape)))
        best = max(found, key=lambda pair: bench.val_rank(bench.val_outputs(pair[0])))
        yield Candidate("one member", *best)
