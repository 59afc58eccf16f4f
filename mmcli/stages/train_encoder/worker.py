"""A process that trains inputs for another: told by JSON lines on stdin, telling by some on stdout: see `side_by_side`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmcli import registry
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.errors import MmcliError
from mmcli.options.train_encoder import Budget, Options
from mmcli.reporting.console import Relayed
from mmcli.stages import Context
from mmcli.stages.train_encoder.candidates import Bench, candidates_for
from mmcli.stages.train_encoder.side_by_side import DONE
from mmcli.stages.train_encoder.training import train_input
from mmcli.training import device
from mmcli.training.fixed import Fixed


def main() -> None:
    """The first line is the order, each further one an input and its seconds; the end of stdin, that of the other process too,
    is the end."""
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    for file in order["trust"]:
        registry.trust(file)
    said = order["options"]
    said |= {"columns": tuple(said["columns"]), "architectures": tuple(said["architectures"])}
    options = Options(**{**said, "budget": Budget(**said["budget"])})
    console = Relayed()
    context = Context(
        root=Path(order["root"]),
        console=console,
        settings=Settings(order["settings"]),
        device=order["device"],
        precision=order["precision"],
        threads=1,
        seed=order["seed"],
        force=order["force"],
        fixed=None if order["fixed"] is None else Fixed.from_dict(order["fixed"]),
        command=order["command"],
    )
    bench = Bench(options, Dataset.open(context.root), device.choose(context.device, context.precision, 1), context)
    for line in sys.stdin:
        name, seconds = json.loads(line)
        try:
            train_input(candidates_for(name, bench), replace(bench, seconds=seconds))
        except MmcliError:
            return  # the other process does it, and says what is wrong
        console.tell(DONE)
