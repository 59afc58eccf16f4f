"""A search over fusions, widths, rates and encoders (Optuna: TPE with pruning) on cached embeddings; its best is proposed"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from mmcli.config import Config as BaseConfig
from mmcli.optimizations import Candidate, Optimization, Workbench
from mmcli.selection.search import described


class Config(BaseConfig):
    """Nothing to say: the options of fusing hold, and the space is the search's own."""


class SearchFusions(Optimization):
    """Kept if its best trial is better on val beyond noise; the others serve `ensemble`."""

    family: ClassVar[Literal["accuracy"]] = "accuracy"
    trains = True
    config: Config

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        found = bench.search()
        trials = found.run(bench.deadline, bench.trials, bench.console)
        bench.extra.update(described(found.study()))
        if trials:
            yield bench.of_trials({trials[0]: 1}, f"trial {trials[0].number}", candidate.recipe)
