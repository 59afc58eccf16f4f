"""The weights of a module that trains: which of them move, and exchanging them for others."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def exchange(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """The module's weights for those given, and the other way round, without a copy."""
    own = {id(tensor): (name, tensor) for name, tensor in module.state_dict(keep_vars=True).items()}  # shared ones once
    for name, tensor in own.values():
        tensor.data, weights[name].data = weights[name].data, tensor.data


def moving(module: nn.Module) -> list[str]:
    """What changes while training: trainable parameters and the buffers that are numbers."""
    still = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    return [name for name, tensor in module.state_dict().items() if name not in still and tensor.is_floating_point()]
