"""An ensemble of the search's best trials, chosen greedily on val with replacement (Caruana et al. 2004)"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from mmcli.config import Config as BaseConfig
from mmcli.ensembling import greedy
from mmcli.optimizations import Candidate, Optimization, Workbench


class Config(BaseConfig):
    """How many."""

    most: int = Field(8, ge=1, le=64)
    """Most models that are averaged."""
    among: int = Field(30, ge=1)
    """Trials that they are chosen among: the best of the search."""


class Ensemble(Optimization):
    """Kept if the mean of the chosen is better on val."""

    family: ClassVar[Literal["accuracy"]] = "accuracy"
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        return "" if len(bench.search().done()) > 1 else "the search left nothing to choose among"

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        trials = bench.search().done()[: self.config.among]
        val = bench.dataset.splits["val"]
        outputs = [trial.outputs()[val].float() for trial in trials]
        chosen = greedy(outputs, lambda own: bench.val_score(own)["loss"], self.config.most)
        counts = Counter(trials[place] for place in chosen)
        bench.extra["members"] = {f"trial {trial.number}": count for trial, count in counts.items()}
        yield bench.of_trials(counts, f"ensemble of {len(counts)}", candidate.recipe)
