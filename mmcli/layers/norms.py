"""LayerNorm and BatchNorm as one operator each in a graph that is to become ONNX.

PyTorch works out the shapes of its own by taking them apart, operator by operator, wherever it meets one: a fifth of the time
that tracing a network takes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.library.custom_op("mmcli::layer_norm", mutates_args=())
def layer_norm(values: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Over the last dimension [..., D], as `nn.LayerNorm`."""
    return F.layer_norm(values, weight.shape, weight, bias, eps)


@torch.library.custom_op("mmcli::batch_norm", mutates_args=())
def batch_norm(values: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """Of [B, C, ...] by the statistics that were learnt."""
    return F.batch_norm(values, mean, var, weight, bias, eps=eps)


@layer_norm.register_fake
def _(values: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    del weight, bias, eps
    return torch.empty_like(values, memory_format=torch.contiguous_format)


@batch_norm.register_fake
def _(values: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    del weight, bias, mean, var, eps
    return torch.empty_like(values)


@contextlib.contextmanager
def in_one_piece(network: nn.Module) -> Iterator[None]:
    """While it is traced: its layers that normalise, in evaluation, call these; dropout, which does nothing there, is left
    out."""
    changed = []
    for own in network.modules():
        forward = _forward(own)
        if forward is not None:
            vars(own)["forward"] = forward
            changed.append(own)
    try:
        yield
    finally:
        for own in changed:
            del vars(own)["forward"]


def _forward(own: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """A layer as one operator, or none; None where it stays as it is."""
    if "forward" in vars(own):  # somebody else's
        return None
    if type(own) is nn.Dropout and not own.training:
        return lambda values: values
    if type(own) is nn.LayerNorm:
        weight, bias = own.weight, own.bias
        plain = weight is None or bias is None or weight.dim() > 1
        return None if plain else lambda values: layer_norm(values, own.weight, own.bias, own.eps)
    if type(own) in {nn.BatchNorm1d, nn.BatchNorm2d} and not own.training:
        parts = [getattr(own, name) for name in ("weight", "bias", "running_mean", "running_var")]
        return None if any(part is None for part in parts) else partial(_batch_norm, own)
    return None


def _batch_norm(own: nn.Module, values: Tensor) -> Tensor:
    found: Tensor = batch_norm(values, own.weight, own.bias, own.running_mean, own.running_var, own.eps)
    return found
