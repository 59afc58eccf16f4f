"""Texts searched for by beams of other widths: fewer followed at once take less time, more may find better ones

Each is settled on val anew: the power of the length, what a language model weighs, the confidence. The network is the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from mmcli.config import Config as BaseConfig
from mmcli.models.networks import AveragedHeads, FusedModel
from mmcli.models.recipe import Recipe
from mmcli.optimizations import Candidate, Optimization, Workbench


class Config(BaseConfig):
    """Which widths."""

    widths: tuple[PositiveInt, ...] = Field((1, 4, 8), min_length=1)
    """Texts that are followed at once; 1 takes the likeliest unit at each step."""


class OtherBeams(Optimization):
    """The same network with each other width; one whose search val is no better for is as greedy as a width of 1."""

    family: ClassVar[Literal["smaller"]] = "smaller"
    for_any_answer = True
    for_decisions = False
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        return "" if _heads(candidate.network) else "its answers take no search"

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        known = {_width(candidate.network)}
        for width in self.config.widths:
            own = copy.deepcopy(candidate.network)
            for head in _heads(own):
                head.beam = width
            if _width(own) in known:
                continue
            outputs, targets = bench.val_outputs(own), bench.dataset.targets[bench.dataset.splits["val"]]
            for head in _heads(own):
                head.settle_beam(width, outputs, targets)
            if _width(own) in known:  # val was no better for it
                continue
            known.add(_width(own))
            yield Candidate(f"beam {_width(own)}", own, _told(candidate.recipe, width))


def _heads(network: FusedModel) -> list[Any]:
    """Those whose answers are searched for."""
    heads = network.fusion_head
    each = [own.head for own in (heads.each if isinstance(heads, AveragedHeads) else [heads])]
    return [head for head in each if head.searches]


def _width(network: FusedModel) -> int:
    return max(head.beam or 1 for head in _heads(network))


def _told(recipe: Recipe, width: int) -> Recipe:
    """The recipe, which says the width where the head has one as an option."""
    config = dict(recipe.head["config"])
    if "beam" not in config:
        return recipe
    return replace(recipe, head={**recipe.head, "config": {**config, "beam": width}})
