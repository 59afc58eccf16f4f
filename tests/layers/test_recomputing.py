"""Recomputed blocks give the gradients, and the statistics, of blocks that keep everything."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from mmcli import registry
from mmcli.config import validate
from mmcli.encoders import Encoder
from mmcli.layers.recomputing import recompute
from mmcli.signals import Signal, SignalSpec

GRID = SignalSpec(kind="grid", shape=(3, 16, 16))
SOUND = SignalSpec(kind="spectrogram", shape=(8,))


def built(name: str, spec: SignalSpec, **options: Any) -> Encoder:
    kind = registry.load("encoders", name)
    torch.manual_seed(0)
    encoder: Encoder = kind(validate(registry.config_of(kind), options, name), spec)
    return encoder


@pytest.mark.parametrize(
    ("name", "spec", "options"), [("cnn", GRID, {}), ("transformer", SOUND, {}), ("torchvision:resnet18", GRID, {})]
)
def test_the_same_gradients_and_statistics_with_less_kept(name: str, spec: SignalSpec, options: dict[str, Any]) -> None:
    options = {**options, "model": name.partition(":")[2]} if ":" in name else options
    plain = built(name.partition(":")[0], spec, **options).train()
    thrifty = copy.deepcopy(plain)
    assert recompute(thrifty) >= 2
    values = torch.randn(4, *((3, 16, 16) if spec is GRID else (9, 8)))
    lengths = None if spec is GRID else torch.tensor([9, 4, 2, 9])
    signal = Signal(values, torch.ones(4, dtype=torch.bool), lengths)
    kept = []
    for encoder in (plain, thrifty):
        sizes: dict[int, int] = {}

        def keep(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        torch.manual_seed(1)  # dropout, drawn again while recomputing
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda own: own):
            features = encoder(signal)
        (features.pooled.square().sum() + features.tokens.square().sum()).backward()
        weights = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
        kept.append(sum(size for place, size in sizes.items() if place not in weights))
    assert kept[1] < 0.7 * kept[0]
    for (where, one), other in zip(plain.named_parameters(), thrifty.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), where
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)
    for one, other in zip(plain.buffers(), thrifty.buffers(), strict=True):
        if one.is_floating_point():
            torch.testing.assert_close(one, other)
