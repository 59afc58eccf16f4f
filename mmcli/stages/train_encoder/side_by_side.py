"""Inputs trained side by side: a process to a core, each computing on one thread.

So no bit depends on how many cores there are, and small networks, which more threads do not make faster, keep all cores busy.
Inputs are dealt one at a time, the largest first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace

from mmcli import registry
from mmcli.data.dataset import Dataset
from mmcli.encoders import Encoder
from mmcli.options.train_encoder import Options
from mmcli.stages import Context
from mmcli.stages.train_encoder.candidates import Candidate
from mmcli.training import workers

PRODUCTS = 256
"""How often networks of pictures, clips and sound use each byte that they read, about."""


def by_work(candidates: Mapping[str, Sequence[Candidate]], dataset: Dataset) -> list[str]:
    """The inputs that take longest first: by what all epochs read, or, of forms and vectors, multiply."""

    def work(name: str) -> int:
        own = dataset.input(name)
        total = 0
        for candidate in candidates[name]:
            read = dataset.bytes_of(name)
            if own.spec.kind in {"fields", "vector"}:
                kind: type[Encoder] = registry.load("encoders", candidate.architecture)
                read = kind.parameter_formula(candidate.config, own.spec) * len(dataset.splits["train"]) // PRODUCTS
            total += read * candidate.training.epochs
        return total

    return sorted(candidates, key=lambda name: (-work(name), name))


@contextmanager
def helped(
    candidates: Mapping[str, Sequence[Candidate]],
    dataset: Dataset,
    options: Options,
    context: Context,
    clock: workers.Clock,
) -> Iterator[workers.Queue]:
    """A queue of those inputs, which other processes take from as well, as many as there are cores to spare."""
    at_once = min(workers.cores(context.device, context.threads), len(candidates))
    queue = workers.Queue(deque(by_work(candidates, dataset)), clock, at_once)

    def start_one() -> workers.Process:
        return workers.start(
            "mmcli.stages.train_encoder.worker", {"context": replace(context, threads=1).said(), "options": asdict(options)}
        )

    with workers.helped(queue, start_one, context.console):
        yield queue
