"""What a fused model makes of its inputs, on rows it has not learnt from: every subset of them, Shapley values, permutations,
missing cells, noise, and whether it uses interactions at all.

The encoders run once over the rows (and once more for each noise); the rest is the fusion over their features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mmcli.data.dataset import Dataset
from mmcli.models.networks import FusedModel, own_outputs
from mmcli.reporting.metrics import Interval
from mmcli.signals import Column, Features, Source
from mmcli.training.device import Compute

MOST_EXACT = 8
"""Inputs up to which all subsets are tried; beyond, Shapley values are from sampled orders."""
MOST_TOLD = 4
"""Inputs up to which the scores of all subsets are told."""
ORDERS = 60
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEVELS = (0.0, 0.1, 0.3, 1.0)
NOISY_ROWS = 400
"""Most rows on which noise is tried: they are encoded anew for each kind and level."""
EMAP_ROWS = 120
REPEATS = 5


@dataclass(frozen=True)
class Analysis:
    """A model, some rows of a table, and their targets."""

    network: FusedModel
    dataset: Dataset
    index: Tensor
    compute: Compute
    seed: int = 0

    @cached_property
    def targets(self) -> Tensor:
        return self.dataset.targets[self.index]

    @property
    def inputs(self) -> list[str]:
        return self.network.inputs

    @cached_property
    def features(self) -> dict[str, Features]:
        """What the encoders make of the rows."""
        return self._encoded({name: self.dataset.column(name).select(self.index) for name in self.inputs})

    @torch.no_grad()
    def _encoded(self, columns: Mapping[str, Source]) -> dict[str, Features]:
        self.network.eval()
        prepared = {name: own.to(self.compute.device) for name, own in self.network.prepare(columns).items()}
        rows = len(next(iter(prepared.values())))
        with self.compute.autocast():
            parts = [
                self.network.features({name: own.gather(part) for name, own in prepared.items()})
                for part in torch.arange(rows, device=self.compute.device).split(256)
            ]
        return {name: _together([part[name] for part in parts]) for name in self.network.names}

    @torch.no_grad()
    def outputs(self, features: Mapping[str, Features]) -> Any:
        """Outputs of the fusion on those features, on the host."""
        kind, host = self.dataset.task.outputs, torch.device("cpu")
        rows = len(next(iter(features.values())).present)
        parts = []
        with self.compute.autocast():
            for part in torch.arange(rows, device=self.compute.device).split(1024):
                output = self.network.fusion_head({name: own.gather(part) for name, own in features.items()})
                parts.append(kind.to(kind.plain(self.network.calibration(output.outputs)), host))
        return kind.join(parts)

    def only(self, kept: Sequence[str]) -> Any:
        """Outputs with just those inputs, the others absent in every row."""
        return self.outputs(self._masked({name: torch.full_like(self._present(name), name in kept) for name in self.inputs}))

    def _present(self, name: str) -> Tensor:
        return next(own.present for encoder, own in self.features.items() if self.network.sources[encoder] == name)

    def _masked(self, kept: Mapping[str, Tensor]) -> dict[str, Features]:
        sources = self.network.sources
        return {name: replace(own, present=own.present & kept[sources[name]]) for name, own in self.features.items()}

    def score(self, outputs: Any) -> float:
        """The primary metric."""
        task = self.dataset.task
        return task.score(outputs, self.targets)[task.primary_metric]

    @property
    def sign(self) -> int:
        return 1 if self.dataset.task.primary_higher_is_better else -1

    @cached_property
    def values(self) -> dict[frozenset[str], Any]:
        """The outputs for every subset of the inputs."""
        found = {}
        for size in range(len(self.inputs) + 1):
            for kept in combinations(self.inputs, size):
                found[frozenset(kept)] = self.only(kept)
        return found

    def subsets(self) -> list[dict[str, Any]]:
        """Every subset of up to `MOST_TOLD` inputs, or each input alone and without each: inputs, and the score's interval."""
        task = self.dataset.task
        names = self.inputs
        wanted: list[tuple[str, ...]]
        if len(names) <= MOST_TOLD:
            wanted = [kept for size in range(len(names), -1, -1) for kept in combinations(names, size)]
        else:
            alone = [(name,) for name in names]
            without = [tuple(own for own in names if own != name) for name in names]
            wanted = [tuple(names), *without, *alone, ()]
        exact = len(names) <= MOST_EXACT
        found = []
        for kept in wanted:
            outputs = self.values[frozenset(kept)] if exact else self.only(kept)
            interval = task.intervals(outputs, self.targets, self.seed)[task.primary_metric]
            found.append({"inputs": list(kept), **interval.as_dict()})
        return found

    def shapley(self) -> dict[str, Any]:
        """Each input's share of the score beyond that with no input (Shapley 1953), which they sum to; of a metric that is
        better low, how much it is lowered. Exact for up to `MOST_EXACT` inputs, else over sampled orders."""
        names, total = self.inputs, len(self.inputs)
        shares = dict.fromkeys(names, 0.0)
        if total <= MOST_EXACT:
            worth = {kept: self.sign * self.score(outputs) for kept, outputs in self.values.items()}
            for name in names:
                for kept, value in worth.items():
                    if name not in kept:
                        weight = math.factorial(len(kept)) * math.factorial(total - len(kept) - 1) / math.factorial(total)
                        shares[name] += weight * (worth[kept | {name}] - value)
        else:
            generator = torch.Generator().manual_seed(self.seed)
            for _ in range(ORDERS):
                so_far: list[str] = []
                before = self.sign * self.score(self.only(so_far))
                for place in torch.randperm(total, generator=generator).tolist():
                    so_far.append(names[place])
                    after = self.sign * self.score(self.only(so_far))
                    shares[names[place]] += (after - before) / ORDERS
                    before = after
        return {"exact": total <= MOST_EXACT, "values": shares}

    def permutation(self) -> dict[str, dict[str, float]]:
        """How much the score falls when an input's cells are exchanged among the rows (Breiman 2001): mean and deviation of
        `REPEATS` times."""
        generator = torch.Generator().manual_seed(self.seed)
        full, found = self.sign * self.score(self.outputs(self.features)), {}
        for name in self.inputs:
            drops = []
            for _ in range(REPEATS):
                order = torch.randperm(len(self.index), generator=generator).to(self.compute.device)
                mixed = {
                    encoder: own.gather(order) if self.network.sources[encoder] == name else own
                    for encoder, own in self.features.items()
                }
                drops.append(full - self.sign * self.score(self.outputs(mixed)))
            values = torch.tensor(drops)
            found[name] = {"drop": float(values.mean()), "deviation": float(values.std())}
        return found

    def missing_curve(self) -> dict[str, list[dict[str, float]]]:
        """The score against the share of rows that lack an input: means over three draws."""
        generator = torch.Generator().manual_seed(self.seed)
        found: dict[str, list[dict[str, float]]] = {}
        for name in self.inputs:
            luck = [torch.rand(len(self.index), generator=generator) for _ in range(3)]
            found[name] = []
            for share in SHARES:
                scores = []
                for own in luck if 0 < share < 1 else luck[:1]:
                    kept = {other: torch.ones_like(self._present(other)) for other in self.inputs}
                    kept[name] = (own >= share).to(self.compute.device)
                    scores.append(self.score(self.outputs(self._masked(kept))))
                found[name].append({"share": share, "score": sum(scores) / len(scores)})
        return found

    def noise_curve(self) -> dict[str, dict[str, list[dict[str, float]]]]:
        """Input -> kind of noise -> the score at each level, on at most `NOISY_ROWS` rows."""
        generator = torch.Generator().manual_seed(self.seed)
        kept = torch.randperm(len(self.index), generator=generator)[:NOISY_ROWS].sort().values
        small = replace(self, index=self.index[kept])
        clean: dict[str, Source] = {name: self.dataset.column(name).select(small.index) for name in self.inputs}
        found: dict[str, dict[str, list[dict[str, float]]]] = {}
        for name in self.inputs:
            source = clean[name]
            column = source if isinstance(source, Column) else source.read(torch.arange(len(source)))  # type: ignore[attr-defined]
            for how in self.dataset.input(name).corruptions:
                curve = []
                for level in LEVELS:
                    spoilt = self.dataset.input(name).corrupted(column, how, level, generator) if level else column
                    outputs = small.outputs(small._with(name, spoilt))
                    curve.append({"level": level, "score": small.score(outputs)})
                found.setdefault(name, {})[how] = curve
        return found

    def _with(self, name: str, column: Column) -> dict[str, Features]:
        """The features with those of one input from another column: only its encoders run."""
        own = dict(self.features)
        encoders = [encoder for encoder in self.network.names if self.network.sources[encoder] == name]
        with torch.no_grad(), self.compute.autocast():
            for encoder in encoders:
                place = self.network.names.index(encoder)
                prepared = self.network.encoder(encoder).prepare(column).to(self.compute.device)
                parts = []
                for part in torch.arange(len(column), device=self.compute.device).split(256):
                    made = self.network.encoder(encoder)(prepared.gather(part))
                    if self.network.heads:
                        made = replace(made, outputs=own_outputs(self.network.heads[place], made))
                    parts.append(made)
                own[encoder] = _together(parts)
        return own

    def emap(self) -> dict[str, Any]:
        """The model against its best additive approximation (EMAP, Hessel and Lee 2020): outputs that are a sum of one term for
        each input, each the mean over the other rows' other inputs. Where the two score alike, the model does not use
        interactions between inputs.

            additive(i) = sum_m mean_j f(own input m of i, the others of j) - (M - 1) mean_{i,j} f
        """
        if len(self.inputs) < 2:
            return {}
        generator = torch.Generator().manual_seed(self.seed)
        kept = torch.randperm(len(self.index), generator=generator)[:EMAP_ROWS]
        small = replace(self, index=self.index[kept])
        features, rows = small.features, len(kept)
        terms, everything = [], torch.zeros(())
        for name in self.inputs:
            sums = []
            for start in torch.arange(rows).split(16):
                own = start.repeat_interleave(rows).to(self.compute.device)
                other = torch.arange(rows).repeat(len(start)).to(self.compute.device)
                mixed = {
                    encoder: one.gather(own if self.network.sources[encoder] == name else other)
                    for encoder, one in features.items()
                }
                sums.append(small.outputs(mixed).reshape(len(start), rows, -1).mean(1))
            term = torch.cat(sums)
            terms.append(term)
            everything = term.mean(0)
        additive = torch.stack(terms).sum(0) - (len(terms) - 1) * everything
        full = small.outputs(features)
        task = self.dataset.task
        gain: Interval = task.gain(full, additive, small.targets, self.seed)
        return {
            "rows": rows,
            "score": small.score(full),
            "additive_score": small.score(additive),
            "gain": gain.as_dict(),
        }

    def weights(self) -> dict[str, float]:
        """Mean weight of each encoder, of fusions that have them."""
        with torch.no_grad(), self.compute.autocast():
            found = self.network.fusion_head(self.features).fused.weights
        if found is None:
            return {}
        return dict(zip(self.network.names, found.float().mean(0).tolist(), strict=True))


def _together(parts: Sequence[Features]) -> Features:
    """Features of consecutive rows as one, padded to the most tokens."""
    longest = max(part.mask.shape[1] for part in parts)

    def padded(tensor: Tensor) -> Tensor:
        missing = longest - tensor.shape[1]
        return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], missing, *tensor.shape[2:])], 1) if missing else tensor

    outputs = [part.outputs for part in parts if part.outputs is not None]
    return Features(
        torch.cat([part.pooled for part in parts]),
        torch.cat([padded(part.tokens) for part in parts]),
        torch.cat([padded(part.mask) for part in parts]),
        torch.cat([part.present for part in parts]),
        torch.cat(outputs) if outputs else None,
    )
