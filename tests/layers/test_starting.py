"""What parameters begin with."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from mmcli.layers.starting import drawn, shapes_alone, unfilled


def test_numbers_are_those_of_the_generator_and_none_are_drawn_for_what_is_loaded() -> None:
    torch.manual_seed(0)
    wanted = [torch.randn(3, 40) * 0.1, torch.randn(5)]
    after = torch.rand(2)
    torch.manual_seed(0)
    found = [drawn(3, 40, std=0.1), drawn(5)]
    assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
    assert torch.equal(torch.rand(2), after)
    torch.manual_seed(0)
    with unfilled():
        assert not drawn(3, 40).any()
    assert torch.equal(drawn(3, 40, std=0.1), wanted[0])


def test_shapes_have_no_numbers_and_none_are_drawn_for_them() -> None:
    torch.manual_seed(0)
    with shapes_alone():
        made = nn.Sequential(nn.Embedding(5, 4, padding_idx=0), nn.Linear(4, 3))
        assert drawn(3, 40).is_meta
        assert nn.init.normal_(torch.zeros(50, device="cpu")).any()
    assert {tuple(own.shape) for own in made.state_dict().values() if own.is_meta} == {(5, 4), (3, 4), (3,)}
    with shapes_alone():
        nn.Embedding(5, 4)
    after = torch.rand(2)
    torch.manual_seed(0)
    torch.randn(50)
    assert torch.equal(torch.rand(2), after)


def test_neither_shapes_nor_steps_import_torchs_compiler() -> None:
    script = """
import sys, torch
from torch import nn
from mmcli.layers.starting import shapes_alone
from mmcli.layers.optimizers import Adam, AdamW, LBFGS
with shapes_alone():
    nn.Embedding(5, 4, padding_idx=0).weight.data.normal_()
    nn.LSTM(3, 4)
    nn.MultiheadAttention(4, 2)
layer = nn.Linear(2, 2)
for optimizer in (
    Adam(layer.parameters()), AdamW(layer.parameters()), AdamW(layer.parameters(), fused=True),
    LBFGS(layer.parameters(), line_search_fn="strong_wolfe"),
):
    def loss():
        optimizer.zero_grad()
        found = (layer(torch.ones(1, 2)) - 3).square().sum()
        found.backward()
        return found
    before = float(loss())
    optimizer.step(loss)
    assert float(loss()) < before, type(optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.zero_grad()
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_error_meanwhile_ends_it() -> None:
    with pytest.raises(ValueError, match="x"), unfilled():
        raise ValueError("x")
    assert drawn(3).all()
