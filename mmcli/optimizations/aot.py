"""Compiled ahead of time for this machine (torch.export, AOTInductor); takes a C++ compiler and a minute"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from mmcli.config import Config as BaseConfig
from mmcli.models.graphs import why_no_graph
from mmcli.models.runners import AOT
from mmcli.optimizations import Candidate, Optimization, Workbench


class Config(BaseConfig):
    """Whether it is worth the time."""

    enabled: bool = False
    """Compiling takes a minute or more for each model."""


class AheadOfTime(Optimization):
    """The same network as machine code."""

    family: ClassVar[Literal["runtime"]] = "runtime"
    for_any_answer = True
    for_folds = True
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        left_out = "" if self.config.enabled else "left out, compiling takes a minute: --set optimization.aot.enabled=true"
        return why_no_graph(candidate.network) or left_out

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        yield replace(candidate, name=f"{candidate.name}, {AOT}", way=AOT, file=bench.file_for(candidate, AOT))
