"""What the network in training answers to rows; and, where rows are told apart by comparing them: which of them make a batch,
what a head begins from, and which answers it keeps to compare others with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmcli.training.data import by_identity, shuffled
from mmcli.training.job import Job


@torch.no_grad()
def outputs_of(job: Job, index: Tensor, batch_size: int = 256) -> Any:
    """Outputs for the rows `index`, in evaluation mode."""
    kind = job.task.outputs
    job.step.eval()
    batches, places = job.rows.to_score(index, batch_size, by_length=not kind.decides)
    with job.compute.autocast():
        found = kind.join([kind.plain(job.step.outputs(batch)) for batch in batches])
    return kind.gather(found, places.to(job.compute.device))


@torch.no_grad()
def enrol(job: Job) -> None:
    """Where answers are held against those for train rows: asks for these, and has them kept."""
    if job.task.enrolled:
        index = _enrolled(job)
        job.step.enrol(outputs_of(job, index), job.rows.targets[index])


def _enrolled(job: Job) -> Tensor:
    """The train rows that are kept to be compared with: all, or a draw that is always the same."""
    train = job.rows.splits["train"]
    if len(train) <= job.task.enrolled:
        return train
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[: job.task.enrolled].sort().values
    return train[drawn.to(train.device)]


@torch.no_grad()
def begin(job: Job) -> None:
    """Has the head start from the features of the train rows, where rows are told apart."""
    if not job.task.enrolled:
        return
    index, found, targets = _enrolled(job), [], []
    job.step.eval()
    with job.compute.threading(), job.compute.autocast():
        for batch in job.rows.in_order(index, 256):
            found.append(job.step.represent(batch)[0][0].float())
            targets.append(batch.targets)
    job.step.begin(torch.cat(found), torch.cat(targets))


def batches_of(job: Job, epoch: int) -> list[Tensor]:
    """Those of an epoch, a function of seed and epoch alone."""
    train, config = job.rows.splits["train"], job.config
    if job.task.enrolled:
        return by_identity(train, job.rows.targets, config.batch_size, config.rows_each, job.seed, epoch)
    return shuffled(train, config.batch_size, job.seed, epoch, job.rows.lengths)
