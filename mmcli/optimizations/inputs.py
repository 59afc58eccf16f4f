"""Fewer inputs: those that do not earn their cost are left out, one after the other, and the fusion trained anew on the rest"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from mmcli.config import Config as BaseConfig
from mmcli.jobs import fusion as fusion_job
from mmcli.models.recipe import build_head
from mmcli.optimizations import Candidate, Optimization, Workbench
from mmcli.reporting.console import Console
from mmcli.training import device
from mmcli.training.config import TrainingConfig
from mmcli.training.loop import CHECKPOINT, LOG, train

TRAINING = {"epochs": 40, "learning_rate": 2e-3, "weight_decay": 0.05, "batch_size": 128, "patience": 10}


class Config(BaseConfig):
    """Nothing to choose: the fusion's own method and options hold."""


class FewerInputs(Optimization):
    """At each step the encoder goes without which val is best, until a step costs more than twice what may be lost."""

    family: ClassVar[Literal["smaller"]] = "smaller"
    trains = True
    for_any_answer = True
    config: Config

    def unfit(self, candidate: Candidate, bench: Workbench) -> str:  # noqa: ARG002
        return "" if len(bench.encoders) > 1 else "there is one encoder"

    def proposals(self, candidate: Candidate, bench: Workbench) -> Iterator[Candidate]:
        task = bench.dataset.task
        sign = 1 if task.primary_higher_is_better else -1
        start = sign * bench.val_score(bench.val_outputs(candidate.network))[task.primary_metric]
        names = [name for name in bench.encoders if name in candidate.recipe.encoders] or list(bench.encoders)
        while len(names) > 1 and not bench.time_is_over():
            tried: list[tuple[tuple[float, float], Candidate]] = []
            for name in names:
                if bench.time_is_over() and tried:
                    break
                tried.append(self._trained([own for own in names if own != name], candidate, bench))
            best = max(tried, key=lambda own: own[0])
            names = list(best[1].recipe.encoders)
            scale = max(abs(start), 1e-9)
            if start - best[0][0] > 2 * max(bench.max_drop, 0.01) * (scale if sign < 0 else 1):
                return
            yield best[1]

    def _trained(self, names: list[str], candidate: Candidate, bench: Workbench) -> tuple[tuple[float, float], Candidate]:
        """A fusion of those encoders from one seed, on cached embeddings; and how it ranks on val."""
        dataset, task = bench.dataset, bench.dataset.task
        first = candidate.recipe.members[0]
        member = replace(first, encoders=tuple(names))
        features = {name: bench.features[name] for name in names}
        dims = {name: own.pooled.shape[1] for name, own in features.items()}
        sources = {name: str(bench.choices[name]["input"]) for name in names}
        seed = device.derive_seed(bench.seed, "inputs", *names)
        device.seed_everything(seed)
        dropout = candidate.recipe.modality_dropout
        own = (first.method, first.fusion, dims, sources, task, candidate.recipe.head)
        head = build_head(*own, dropout, decisions=first.decisions)
        head.swap_shares = {name: fusion_job.swap_share(own, dataset) for name, own in features.items()}
        training = TrainingConfig.of(bench.settings, **TRAINING)
        compute = replace(bench.compute, precision="float32")
        job = fusion_job.job(head, features, dataset, training, compute, seed=seed, folder=bench.folder, label="inputs")
        train(job, Console(quiet=True))
        for file in (LOG, CHECKPOINT):
            (bench.folder / file).unlink(missing_ok=True)
        val = dataset.splits["val"]
        outputs = fusion_job.settled(head, features, dataset, compute).of(val)
        label = f"{len(names)} of {len(bench.encoders)} encoders"
        return bench.val_rank(outputs), replace(bench.assembled([member], [head.state_dict()], candidate.recipe), name=label)
