"""An ensemble of the fused model and the search's best trials, chosen greedily over resampled val rows (Caruana et al. 2006)"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.models.networks import settle
from mmcli.optimizations import Candidate, Optimization, Workbench
from mmcli.selection.ensemble import bagged


class Config(BaseConfig):
    """How many."""

    most: int = Field(8, ge=1, le=64)
    """Most models that are averaged."""
    among: int = Field(30, ge=1)
    """Trials that they are chosen among, beside the fused model: the best of the search."""
    bags: int = Field(20, ge=1, le=1000)
    """Samples of val rows over which they are chosen."""


class Ensemble(Optimization):
    """Kept if the mean of the chosen is better on val beyond noise."""

    family: ClassVar[Literal["accuracy"]] = "accuracy"
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        return "" if len(bench.search().done()) > 1 else "the search left nothing to choose among"

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        trials = bench.search().done()[: self.config.among]
        dataset, val = bench.dataset, bench.dataset.splits["val"]
        task, targets = dataset.task, dataset.targets[val]
        outputs = [trial.outputs(task)[val].float() for trial in trials]
        if not bench.base.config["trained_encoders"]:  # those of the trials stand as they were
            outputs.append(bench.base_outputs()[val].float())

        def loss(own: Tensor, of: Tensor) -> float:
            return task.score(own, of)["loss"]

        found = bagged(outputs, targets, loss, self.config.most, bags=self.config.bags, seed=bench.seed)
        counts = {trials[place]: count for place, count in found.items() if place < len(trials)}
        base = found.get(len(trials), 0)
        bench.extra["members"] = {f"trial {trial.number}": count for trial, count in counts.items()}
        bench.extra["members"] |= {bench.base.name: base} if base else {}
        made = bench.of_trials(counts, f"ensemble of {len(found)}", candidate.recipe, base)
        settle(made.network.fusion_head, bench.val_outputs(made.network), targets)
        yield made
