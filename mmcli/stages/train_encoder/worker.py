"""A process that trains inputs for another: see `side_by_side`."""

from __future__ import annotations

from dataclasses import replace

from mmcli.data.dataset import Dataset
from mmcli.errors import MmcliError
from mmcli.options.train_encoder import Options
from mmcli.stages import Context
from mmcli.stages.train_encoder.candidates import Bench, candidates_for
from mmcli.stages.train_encoder.training import train_input
from mmcli.training import device, workers


def main() -> None:
    """Trains each input that it is dealt. One that fails ends it: the other process does that, and says what is wrong."""
    order = workers.heard()
    context, options = Context.heard(order["context"]), Options.again(order["options"])
    bench = Bench(options, Dataset.open(context.root), device.choose(context.device, context.precision, 1), context)
    for name, seconds in workers.pieces():
        try:
            train_input(candidates_for(name, bench), replace(bench, seconds=seconds))
        except MmcliError:
            return
