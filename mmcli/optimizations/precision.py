"""The other precision: float32 where bfloat16 is the device's own choice, and the other way round"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from mmcli.config import Config as BaseConfig
from mmcli.models.runners import BFLOAT16, FLOAT32
from mmcli.optimizations import Candidate, Optimization, Workbench


class Config(BaseConfig):
    """Nothing to choose."""


class OtherPrecision(Optimization):
    """The same weights, computed with in the other precision."""

    family: ClassVar[Literal["runtime"]] = "runtime"
    for_any_answer = True
    for_folds = True
    config: Config

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        way = FLOAT32 if bench.compute.precision == "bfloat16" else BFLOAT16
        yield replace(candidate, name=f"{candidate.name}, {way.removeprefix('torch ')}", way=way)
