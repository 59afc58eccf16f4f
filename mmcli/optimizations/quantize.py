"""Weights of linear layers in int8, computing in float32 or in int8 (torchao)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from mmcli.config import Config as BaseConfig
from mmcli.models.runners import INT8_DYNAMIC, INT8_WEIGHTS
from mmcli.optimizations import Candidate, Optimization, Workbench


class Config(BaseConfig):
    """Nothing to choose."""


class Quantize(Optimization):
    """Each row of a weight has a scale of its own; of `int8 dynamic`, each row of activations too."""

    family: ClassVar[Literal["runtime"]] = "runtime"
    packages = ("torchao",)
    for_any_answer = True
    for_folds = True
    config: Config

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:  # noqa: ARG002
        for way in (INT8_WEIGHTS, INT8_DYNAMIC):
            yield replace(candidate, name=f"{candidate.name}, {way.removeprefix('torch ')}", way=way)
