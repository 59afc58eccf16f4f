"""The largest batch that fits (`--batch-size auto`), found without filling the memory.

One small batch tells what a row keeps for its backward pass; a batch may take so many of them as a part of what is free holds.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mmcli.training.device import free_memory
from mmcli.training.job import Job
from mmcli.training.steps import gradient

STEPS_AN_EPOCH = 8
"""The fewest: larger batches than that learn too little from a pass."""
SHARE = 0.5
"""The most of what is free that a step may take."""
WORKSPACE = 2.0
"""What a step takes, in parts of what it keeps for the backward pass: gradients of it, and scratch."""


def largest_batch(job: Job) -> tuple[int, str]:
    """A power of two, and what it is bound by. The module's gradients are left empty, its weights as they were."""
    train = job.rows.splits["train"]
    enough = _power_of_two(max(len(train) // STEPS_AN_EPOCH, 2))
    rows = min(len(train), 8)
    kept = kept_bytes(job, train[:rows]) / rows
    fixed = 4 * sum(p.numel() * p.element_size() for p in job.module.parameters() if p.requires_grad)
    fits = _power_of_two(max((free_memory(job.compute.device) * SHARE - fixed) / max(kept * WORKSPACE, 1), 2))
    if fits < enough:
        return fits, f"a row keeps {kept / 1e6:.1f} MB for its gradient"
    return enough, f"memory would hold {fits:,} rows, but an epoch has {STEPS_AN_EPOCH} steps at least"


def kept_bytes(job: Job, index: Tensor) -> int:
    """Bytes that the forward pass on those rows keeps for the backward pass, parameters apart."""
    known = {parameter.untyped_storage().data_ptr() for parameter in job.module.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    def same(tensor: Any) -> Any:
        return tensor

    state = {name: tensor.detach().clone() for name, tensor in job.module.state_dict().items()}
    job.step.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, same):
        gradient(job, job.rows.gather(index))
    job.module.zero_grad(set_to_none=True)
    job.module.load_state_dict(state)
    return sum(sizes.values())


def _power_of_two(number: float) -> int:
    return int(2 ** math.floor(math.log2(number)))
