"""Activation checkpointing (Chen et al. 2016): a network's blocks keep their inputs alone and compute the rest again for the
backward pass. Gradients stay the same, statistics of a batch are taken once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmcli.pretrained import weights as pretrained

BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def recompute(network: nn.Module) -> int:
    """Lets each block of the network compute again what its backward pass wants; gives how many blocks it has."""
    blocks = [network.get_submodule(name) for name in pretrained.blocks(network)]
    for block in blocks:
        block.forward = functools.partial(_forward, block, block.forward)
    return len(blocks)


def _forward(block: nn.Module, forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return forward(*arguments, **named)
    contexts = functools.partial(_contexts, block)
    return checkpoint(forward, *arguments, use_reentrant=False, context_fn=contexts, **named)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """While a block is computed again, its running statistics stand still: they have seen the batch."""
    norms = [module for module in block.modules() if isinstance(module, BATCH_NORM)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
