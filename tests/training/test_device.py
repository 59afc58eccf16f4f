"""What is chosen to compute by."""

from __future__ import annotations

import pytest
import torch

from mmcli.training import device


@pytest.mark.parametrize(
    ("units", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": True}, "bfloat16"),
        ({"avx512_bf16": True, "amx_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_a_processor_computes_in_bfloat16_where_it_has_tiles_for_it(
    monkeypatch: pytest.MonkeyPatch, units: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    assert device.choose("cpu").precision == precision
    assert device.choose("cpu", "bfloat16").precision == "bfloat16"  # what is asked for is done
