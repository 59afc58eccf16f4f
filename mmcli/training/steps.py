"""One optimizer step: the gradient of a batch, in parts where memory wants it, and the optimizer that uses it."""

from __future__ import annotations

import torch
from torch import Tensor

from mmcli.layers.blocks import lay_out
from mmcli.layers.optimizers import AdamW
from mmcli.layers.recomputing import BATCH_NORM
from mmcli.signals import Batch
from mmcli.training import checkpoint
from mmcli.training.job import Job


def gradient(job: Job, batch: Batch, parts: int = 1) -> Tensor:
    """Adds the gradient of the batch's mean loss, computed in so many parts, to that of the module; gives the loss.

    A part has two rows at least: statistics over a batch need them. A loss that compares the rows of a batch sees all of them
    even so.
    """
    parts = min(parts, max(len(batch) // 2, 1))
    if parts > 1 and job.task.compares_rows:
        return _compared(job, batch, parts)
    total = torch.zeros((), device=job.compute.device)
    # A CUDA graph leaves the gradients of a part where it writes those of the next.
    step = job.step.forward if parts > 1 and job.compute.graphs else job.step
    for part in [batch] if parts == 1 else batch.parts(parts):
        with job.compute.autocast():
            loss = step(job.rows.varied(part))
        (loss if parts == 1 else loss * (len(part) / len(batch))).backward()
        total += loss.detach().float() * (len(part) / len(batch))
    return total


def _compared(job: Job, batch: Batch, parts: int) -> Tensor:
    """The same of a loss that compares rows, by two passes (GradCache, Gao 2021): the first represents all rows without keeping
    what a gradient needs; the loss of all gives the gradient of each representation; the second pass, which sees the same
    variations and the same dropout, carries them on to the parameters part by part."""
    device, total = job.compute.device, torch.zeros((), device=job.compute.device)
    pieces, states, found = batch.parts(parts), [], []
    for part in pieces:
        states.append(checkpoint.random_state(device))
        with torch.no_grad(), job.compute.autocast():
            found.append(job.step.represent(job.rows.varied(part))[0])
    leaves = [torch.cat(own).detach().requires_grad_(own[0].is_floating_point()) for own in zip(*found, strict=True)]
    with job.compute.autocast():
        loss = job.step.compare(leaves, batch)
    loss.backward()
    total += loss.detach().float()
    place = 0
    for part, state in zip(pieces, states, strict=True):
        checkpoint.restore_random_state(state, device)
        with job.compute.autocast():
            represented, beside = job.step.represent(job.rows.varied(part))
        own_rows = slice(place, place + len(part))
        losses = [
            (own, leaf.grad[own_rows])
            for own, leaf in zip(represented, leaves, strict=True)
            if own.requires_grad and leaf.grad is not None
        ]
        if beside is not None:
            share = len(part) / len(batch)
            losses.append((beside, torch.full_like(beside, share)))
            total += beside.detach().float() * share
        torch.autograd.backward([own for own, _ in losses], [slope for _, slope in losses])
        place += len(part)
    return total


def sees_parts(job: Job) -> bool:
    """Whether a batch computed in parts is another step: statistics over a batch are then those of a part."""
    job.step.train()
    return any(isinstance(module, BATCH_NORM) and module.training for module in job.module.modules())


def out_of_memory(error: RuntimeError) -> bool:
    """Whether it says that the device's memory, or the host's, is used up."""
    return (
        isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error) or "not enough memory" in str(error)
    )


def prepared_for(job: Job) -> Job:
    """The job, its module laid out and its step compiled as its way to compute says."""
    lay_out(job.module, job.compute.channels_last)
    job.step._compiled_call_impl = None  # what another way to compute may have left
    if job.compute.compiled:
        job.step.compile(mode="reduce-overhead" if job.compute.graphs else None)
    return job


def optimizer_of(job: Job) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms, absent embeddings) are not decayed."""
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in job.module.named_parameters():
        if parameter.requires_grad:
            factor = next((f for prefix, f in job.learning_rates.items() if name.startswith(prefix)), 1.0)
            groups.setdefault((factor, parameter.dim() > 1), []).append(parameter)
    decay, rate = job.config.weight_decay, job.config.learning_rate
    return AdamW(
        [
            {"params": params, "lr": rate * factor, "weight_decay": decay if matrix else 0.0}
            for (factor, matrix), params in groups.items()
        ],
        fused=job.compute.fused,
    )
