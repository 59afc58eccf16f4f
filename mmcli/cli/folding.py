"""Folds of `run` trained side by side, a process to each. Knows the stages, and which folds there are."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, replace

from mmcli.data import memory
from mmcli.data.dataset import Dataset
from mmcli.errors import MmcliError
from mmcli.options.fuse import Options as FuseOptions
from mmcli.options.train_encoder import Options as EncoderOptions
from mmcli.stages import Context, folds, fuse, train_encoder
from mmcli.training import workers


def train(numbers: Sequence[int], count: int, encoders: EncoderOptions, fusion: FuseOptions, context: Context) -> None:
    """Trains encoders and fusions of those folds. Where there are several inputs each computes on one thread, so the bits are
    those of any number of cores; folds come one after the other where all cores work on the one input, or on all of it."""
    cores = workers.cores(context.device, context.threads)
    one_by_one = len(Dataset.open(context.root).inputs) == 1 or fusion.train_encoders
    at_once = 1 if one_by_one else min(cores, len(numbers))
    own = context if at_once == 1 else replace(context, threads=max(cores // at_once, 1))
    times = len(numbers) / math.ceil(len(numbers) / at_once)
    if at_once > 1:
        context.console.note(f"{at_once} folds train at a time")
    queue = workers.Queue(deque(map(str, numbers)), workers.Clock(None), at_once)

    def start_one() -> workers.Process:
        order = {"context": own.said(), "encoders": asdict(encoders), "fusion": asdict(fusion), "count": count, "times": times}
        share = {memory.VARIABLE: str(memory.budget() // at_once)}
        return workers.start("mmcli.cli.folding", order, share)

    def work(name: str, _: float | None = None) -> None:
        _train_one(int(name), count, encoders, fusion, times, own)

    with workers.helped(queue, start_one, context.console):
        workers.working(queue, work)
    workers.working(queue, work)
    context.console.detail(f"folds that other processes trained: {', '.join(sorted(queue.made)) or 'none'}")
    for number in numbers:
        folds.say_of_time(number, context)


def _train_one(number: int, count: int, encoders: EncoderOptions, fusion: FuseOptions, times: float, context: Context) -> None:
    own = folds.context_of(number, count, context)
    train_encoder.run(encoders, own, times)
    fuse.run(fusion, own, times)


def main() -> None:
    """Trains each fold that it is dealt. One that fails ends it: the other process does that, and says what is wrong."""
    order = workers.heard()
    context = Context.heard(order["context"])
    encoders, fusion = EncoderOptions.again(order["encoders"]), FuseOptions.again(order["fusion"])
    for name, _ in workers.pieces():
        try:
            _train_one(int(name), order["count"], encoders, fusion, order["times"], context)
        except MmcliError:
            return
