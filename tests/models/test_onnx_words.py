"""ONNX's words for operators of PyTorch give what PyTorch gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.models import graphs

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


class Made(nn.Module):
    """A function as a module, which can be exported."""

    def __init__(self, of: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.of = of

    def forward(self, values: Tensor) -> Tensor:
        return self.of(values)


PICTURES = torch.randn(3, 2, 12, 14)
OPERATORS: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "equal cells": (lambda x: F.adaptive_avg_pool2d(x, (4, 7)), PICTURES),
    "cells that overlap": (lambda x: F.adaptive_avg_pool2d(x, (8, 5)), PICTURES),
    "more cells than places": (lambda x: F.adaptive_avg_pool2d(x, (20, 3)), PICTURES),
    "pictures of one colour": (lambda x: F.adaptive_avg_pool2d(x, (4, 7)), PICTURES[:, 0]),
    "one cell": (lambda x: F.adaptive_avg_pool2d(x, 1), PICTURES),
    "differences": (lambda x: x.diff(dim=1), torch.randn(3, 5, 4)),
    "differences along the last": (lambda x: x.diff(), torch.randn(3, 5, 4)),
    "one hot": (lambda x: F.one_hot(x, 5) * 1.5, torch.tensor([[0, 4], [3, 1], [2, 2]])),
    "another type": (
        lambda x: torch.ops.aten.to.dtype_layout(x, dtype=torch.int32, layout=torch.strided) + 1,
        torch.tensor([[1.7], [-2.2]]),
    ),
}


TAKEN_APART: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "differences of differences": (lambda x: x.diff(n=2), torch.randn(3, 5)),
    "differences of truths": (lambda x: (x > 0).diff().float(), torch.randn(3, 5)),
    "cells in half precision": (lambda x: F.adaptive_avg_pool2d(x.bfloat16(), (5, 5)).float(), torch.randn(3, 2, 10, 10)),
}


@pytest.mark.parametrize("name", TAKEN_APART)
def test_what_has_no_word_is_taken_apart(name: str, tmp_path: Path) -> None:
    of, values = TAKEN_APART[name]
    rows = torch.export.Dim("rows", min=1, max=64)
    program = torch.export.export(Made(of), (values,), dynamic_shapes=({0: rows},), strict=False)
    graphs.write_onnx(program, ["values"], tmp_path / "m.onnx", ["made"])
    made = graphs.Session(tmp_path / "m.onnx")({"values": values.numpy()})["made"]
    torch.testing.assert_close(torch.from_numpy(made), of(values), atol=2e-2, rtol=1e-2)


@pytest.mark.parametrize("name", OPERATORS)
def test_words(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of, values = OPERATORS[name]
    rows = torch.export.Dim("rows", min=1, max=64)
    program = torch.export.export(Made(of), (values,), dynamic_shapes=({0: rows},), strict=False)

    def never(*_: object) -> None:
        raise AssertionError("taken apart")

    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", never)
    graphs.write_onnx(program, ["values"], tmp_path / "m.onnx", ["made"])
    run = graphs.Session(tmp_path / "m.onnx")
    for own in (values, values[:1], torch.cat([values, values.flip(0)])):
        torch.testing.assert_close(torch.from_numpy(run({"values": own.numpy()})["made"]), of(own), atol=1e-6, rtol=1e-5)
