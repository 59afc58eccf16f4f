"""Folds of `run` trained side by side, a process to a core. Knows the stages, and which folds there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, replace

from mmcli.data.dataset import Dataset
from mmcli.errors import MmcliError
from mmcli.options.fuse import Options as FuseOptions
from mmcli.options.train_encoder import Options as EncoderOptions
from mmcli.stages import Context, folds, fuse, train_encoder
from mmcli.training import workers


def train(numbers: Sequence[int], count: int, encoders: EncoderOptions, fusion: FuseOptions, context: Context) -> None:
    """Trains encoders and fusions of those folds. Inputs compute on one thread where there are several, so the bits are those
    of any number of cores; where there is one, which all cores work on, folds come one after the other."""
    at_once = (
        min(workers.cores(context.device, context.threads), len(numbers)) if len(Dataset.open(context.root).inputs) > 1 else 1
    )
    contexts = {str(number): folds.context_of(number, count, context) for number in numbers}
    if at_once > 1:
        context.console.note(f"{at_once} folds at a time")
        contexts = {name: replace(own, threads=1) for name, own in contexts.items()}
        encoders = replace(encoders, time_budget=encoders.time_budget and at_once * encoders.time_budget)
        fusion = replace(fusion, time_budget=fusion.time_budget and at_once * fusion.time_budget)
    queue = workers.Queue(deque(contexts), workers.Clock(None), at_once)

    def start_one() -> workers.Process:
        order = {"context": context.said(), "encoders": asdict(encoders), "fusion": asdict(fusion)}
        return workers.start("mmcli.cli.folding", order)

    def work(name: str, seconds: float | None = None) -> None:  # noqa: ARG001 - a fold has its share of the time in its options
        train_encoder.run(encoders, contexts[name])
        fuse.run(fusion, contexts[name])

    with workers.helped(queue, start_one, context.console):
        workers.working(queue, work)
    workers.working(queue, work)
    for number in numbers:
        folds.say_of_time(number, context)


def main() -> None:
    """Trains each fold that it is dealt. One that fails ends it: the other process does that, and says what is wrong."""
    order = workers.heard()
    context = Context.heard(order["context"])
    encoders, fusion = EncoderOptions.again(order["encoders"]), FuseOptions.again(order["fusion"])
    for name, _ in workers.pieces():
        own = folds.quietly(int(name), context)
        try:
            train_encoder.run(encoders, own)
            fuse.run(fusion, own)
        except MmcliError:
            return
