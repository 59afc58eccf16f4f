"""What one run is asked for, and what it gathers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

from mmcli import registry
from mmcli.artifacts import layout
from mmcli.artifacts.store import Draft
from mmcli.models import runners
from mmcli.models.forward import forward_columns
from mmcli.optimizations import Candidate, Workbench
from mmcli.options.optimize import Options
from mmcli.selection.tradeoff import Row
from mmcli.training import device
from mmcli.training.loop import LOG

ACCURACY = ("search", "ensemble", "finetune", "calibrate")


SMALLER = ("beam", "member", "inputs", "prune", "distill", "dim")


RUNTIME = ("onnx", "quantize", "precision", "aot")


SHARES = {"search": 0.3, "ensemble": 0.35, "finetune": 0.5, "calibrate": 0.5, "inputs": 0.57, "prune": 0.64, "distill": 0.75}
"""Share of the time that is over when each step should end."""


TRIALS = 40


CANDIDATES = "candidates"


TABLE, FIGURE, RECIPE = layout.TRADEOFF, "tradeoff.png", "recipe.json"


def judged_outputs(candidate: Candidate, own: runners.Runner, bench: Workbench) -> Any:
    """Outputs for the rows that models are judged by, run as the candidate is run. Of an average of folds that is all members
    at once: what the way to run changes in their average is laid upon the outputs of those that may judge a row."""
    if bench.folds is not None and candidate.way == runners.TORCH:
        return bench.val_outputs(candidate.network)
    columns = {name: bench.dataset.column(name).select(bench.judged) for name in candidate.network.inputs}
    found = own.outputs(columns, bench.compute.device)
    if bench.folds is None:
        return found
    return bench.val_outputs(candidate.network) + found - forward_columns(candidate.network, columns, bench.compute)


@dataclass
class Work:
    """What one run gathers."""

    options: Options
    bench: Workbench
    draft: Draft
    ends: float
    """When the time is over, by time.monotonic()."""
    started: float = field(default_factory=time.monotonic)
    history: list[dict[str, Any]] = field(default_factory=list)
    steps: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    smaller: list[Candidate] = field(default_factory=list)
    """Models with fewer or other weights than the most accurate one: they may differ where the val rows do not show it."""
    found: dict[str, tuple[Candidate, runners.Runner]] = field(default_factory=dict)
    reference: str = ""
    """The most accurate model, which all are held against."""

    def at(self, name: str) -> Workbench:
        """The bench for one step: its own folder, seed and end."""
        folder = self.draft.path / layout.safe(name)
        folder.mkdir(exist_ok=True)
        self.draft.volatile.add(f"{folder.name}/{LOG}")
        seed = device.derive_seed(self.bench.seed, "optimize", registry.stem(name) or name)
        share = SHARES.get(name, 1.0)
        deadline = self.started + share * (self.ends - self.started)
        seed = self.bench.seed if name in {"search", "ensemble"} else seed
        return replace(self.bench, folder=folder, seed=seed, deadline=deadline, extra={})
