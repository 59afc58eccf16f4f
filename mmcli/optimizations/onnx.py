"""ONNX, in float32 and in int8, run by ONNX Runtime on a CPU"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from mmcli.config import Config as BaseConfig
from mmcli.models.runners import ONNX, ONNX_INT8
from mmcli.models.writers import why_no_graphs
from mmcli.optimizations import Candidate, Optimization, Workbench


class Config(BaseConfig):
    """What is made."""

    int8: bool = True
    """Whether a second file holds the weights of linear and recurrent layers and of tables in int8."""


class Onnx(Optimization):
    """The same network as a graph, which costs little to run on few rows; what writes texts unit by unit as two."""

    family: ClassVar[Literal["runtime"]] = "runtime"
    packages = ("onnxscript", "onnxruntime")
    for_any_answer = True
    for_folds = True
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:
        return why_no_graphs(candidate.network) if bench.compute.device.type == "cpu" else "ONNX Runtime is used on a CPU"

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        whole = bench.file_for(candidate, ONNX)
        for way in (ONNX, *([ONNX_INT8] if self.config.int8 else [])):
            file = bench.file_for(candidate, way)
            yield replace(candidate, name=f"{candidate.name}, {way}", way=way, file=file, whole=whole)
