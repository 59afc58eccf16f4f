"""What a fused model makes of its inputs, on rows it has not learnt from: every subset of them, Shapley values, permutations,
missing cells, noise, whether it uses interactions at all, and whether it looks at an input where it must.

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
from mmcli.models.columns import own_outputs
from mmcli.models.networks import FusedModel
from mmcli.reporting import metrics
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
DECIBELS = (20, 10, 5, 0, -5)
"""How loud a recording is over the noise that is added to it."""
HIDDEN = (0.0, 0.15, 0.3, 0.5)
"""Shares of the words of a text that are hidden."""
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
                for part in torch.arange(rows).split(256)
            ]
        return {name: self._together([part[name] for part in parts]) for name in self.network.names}

    def _together(self, parts: Sequence[Features]) -> Features:
        """Features of consecutive rows as one; without their tokens where the model does not look at them."""
        reads = self.network.fusion_head.reads_tokens
        return _together(parts if reads else [part.without_tokens() for part in parts])

    @torch.no_grad()
    def outputs(self, features: Mapping[str, Features]) -> Any:
        """Outputs of the fusion on those features, on the host; of answers that take a search, by a cheap one."""
        kind, host = self.dataset.task.outputs, torch.device("cpu")
        rows = len(next(iter(features.values())).present)
        parts = []
        with self.compute.autocast():
            for part in torch.arange(rows).split(1024):
                output = self.network.fusion_head({name: own.gather(part) for name, own in features.items()})
                parts.append(kind.to(kind.plain(self.network.calibration(output.outputs)), host))
        return kind.glimpse(kind.join(parts))

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

    def worth(self, outputs: Any) -> float:
        """What is shared out among the inputs: the metric that the task names, higher being better."""
        task = self.dataset.task
        predicted, right = task.attributed(outputs, self.targets)
        value = float(task.measures()[task.attributed_by](predicted, right, task.counting(self.targets))[0])
        return value if task.metrics.get(task.attributed_by, False) else -value

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
            predicted, right = task.attributed(outputs, self.targets)
            own = task.counting(self.targets)
            weights = task.resamples(self.targets, self.seed, self.groups)
            interval = metrics.interval(task.measures()[task.attributed_by], predicted, right, weights, own)
            found.append({"inputs": list(kept), **interval.as_dict()})
        return found

    def shapley(self) -> dict[str, Any]:
        """Each input's share of the score beyond that with no input (Shapley 1953), which they sum to; of a metric that is
        better low, how much it is lowered. Exact for up to `MOST_EXACT` inputs, else over sampled orders."""
        names, total = self.inputs, len(self.inputs)
        shares = dict.fromkeys(names, 0.0)
        if total <= MOST_EXACT:
            worth = {kept: self.worth(outputs) for kept, outputs in self.values.items()}
            for name in names:
                for kept, value in worth.items():
                    if name not in kept:
                        weight = math.factorial(len(kept)) * math.factorial(total - len(kept) - 1) / math.factorial(total)
                        shares[name] += weight * (worth[kept | {name}] - value)
        else:
            generator = torch.Generator().manual_seed(self.seed)
            for _ in range(ORDERS):
                so_far: list[str] = []
                before = self.worth(self.only(so_far))
                for place in torch.randperm(total, generator=generator).tolist():
                    so_far.append(names[place])
                    after = self.worth(self.only(so_far))
                    shares[names[place]] += (after - before) / ORDERS
                    before = after
        return {"exact": total <= MOST_EXACT, "values": shares, "metric": self.dataset.task.attributed_by}

    def permutation(self) -> dict[str, dict[str, float]]:
        """How much the score falls when an input's cells are exchanged among the rows (Breiman 2001): mean and deviation of
        `REPEATS` times."""
        generator = torch.Generator().manual_seed(self.seed)
        full, found = self.worth(self.outputs(self.features)), {}
        for name in self.inputs:
            drops = []
            for _ in range(REPEATS):
                order = torch.randperm(len(self.index), generator=generator).to(self.compute.device)
                mixed = {
                    encoder: own.gather(order) if self.network.sources[encoder] == name else own
                    for encoder, own in self.features.items()
                }
                drops.append(full - self.worth(self.outputs(mixed)))
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

    def incongruent(self) -> dict[str, dict[str, Any]]:
        """Input -> the `score` where each row has another row's cell of it, and the `gain` of the right ones over these, in
        pairs (Elliott 2018). Rows that have the input pass it on in a circle, so that none keeps its own; fewer than two: none.
        """
        task, found = self.dataset.task, {}
        right = self.outputs(self.features)
        for name in self.inputs:
            here = self._present(name).cpu().nonzero()[:, 0]
            if len(here) < 2:
                continue
            circle = here[torch.randperm(len(here), generator=torch.Generator().manual_seed(self.seed))]
            order = torch.arange(len(self.index))
            order[circle] = circle.roll(1)
            order = order.to(self.compute.device)
            sources = self.network.sources
            mixed = {e: own.gather(order) if sources[e] == name else own for e, own in self.features.items()}
            wrong = self.outputs(mixed)
            score = task.intervals(wrong, self.targets, self.seed, self.groups)[task.primary_metric]
            gain = task.gain(right, wrong, self.targets, self.seed, self.groups)
            found[name] = {"rows": len(here), "score": score.as_dict(), "gain": gain.as_dict()}
        return found

    def masked_source(self) -> dict[str, list[dict[str, Any]]]:
        """Text input -> the score with `HIDDEN` shares of its words hidden, on at most `NOISY_ROWS` rows, with each other input
        and without it (Caglayan 2019): as `without` has it. What is hidden at a share is hidden at larger ones too."""
        small, found = self._fewer(torch.Generator().manual_seed(self.seed)), {}
        for name in self.inputs if len(self.inputs) > 1 else ():
            own, curve = self.dataset.input(name), []
            column = _in_memory(self.dataset.column(name).select(small.index))
            for share in HIDDEN:
                hidden = own.with_words_hidden(column, share, torch.Generator().manual_seed(self.seed))
                if hidden is None:
                    break
                features = small.features if not share else small._with(name, hidden.column)
                told = {"share": share, "words": hidden.words, "hidden": hidden.hidden}
                curve.append(told | small.without(features, name))
            if curve:
                found[name] = curve
        return found

    def without(self, features: Mapping[str, Features], lead: str) -> dict[str, Any]:
        """The `score` on these features; and `without` each input but `lead` the score, and the paired `gain` of having it."""
        task, names = self.dataset.task, [name for name in self.inputs if name != lead]
        outputs, found = self.outputs(features), {}
        for name in names:
            kept = {e: replace(f, present=f.present & (self.network.sources[e] != name)) for e, f in features.items()}
            less = self.outputs(kept)
            score = task.intervals(less, self.targets, self.seed, self.groups)[task.primary_metric]
            gain = task.gain(outputs, less, self.targets, self.seed, self.groups)
            found[name] = {"score": score.as_dict(), "gain": gain.as_dict()}
        score = task.intervals(outputs, self.targets, self.seed, self.groups)[task.primary_metric]
        return {"score": score.as_dict(), "without": found}

    @property
    def groups(self) -> metrics.Array | None:
        return self.dataset.groups(self.index)

    def _fewer(self, generator: torch.Generator) -> Analysis:
        """At most `NOISY_ROWS` of the rows."""
        kept = torch.randperm(len(self.index), generator=generator)[:NOISY_ROWS].sort().values
        return replace(self, index=self.index[kept])

    def noise_curve(self) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Input -> kind of noise -> the score at each level, on at most `NOISY_ROWS` rows. Of noise that has decibels, `db` is
        how far the signal is above it; with several inputs and an answer in words, `without` says what the others add there.
        """
        generator = torch.Generator().manual_seed(self.seed)
        small, task = self._fewer(generator), self.dataset.task
        found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for name in self.inputs:
            own = self.dataset.input(name)
            column = _in_memory(self.dataset.column(name).select(small.index))
            for how in own.corruptions:
                curve: list[dict[str, Any]] = []
                loud = how in own.in_decibels
                for level in [0.0, *(10 ** (-db / 20) for db in DECIBELS)] if loud else LEVELS:
                    spoilt = own.corrupted(column, how, level, generator) if level else column
                    features = small._with(name, spoilt)
                    point: dict[str, Any] = {"level": level, "score": small.score(small.outputs(features))}
                    if loud and level:
                        point["db"] = DECIBELS[len(curve) - 1]
                    if loud and not task.outputs.decides and len(self.inputs) > 1:
                        point["without"] = small.without(features, name)["without"]
                    curve.append(point)
                found.setdefault(name, {})[how] = curve
        return found

    def _with(self, name: str, column: Column) -> dict[str, Features]:
        """The features with those of one input from another column: only its encoders run."""
        own = dict(self.features)
        encoders = [encoder for encoder in self.network.names if self.network.sources[encoder] == name]
        with torch.no_grad(), self.compute.autocast():
            for encoder in encoders:
                head = self.network.own_heads().get(encoder)
                prepared = self.network.encoder(encoder).prepare(column).to(self.compute.device)
                parts = []
                for part in torch.arange(len(column)).split(256):
                    made = self.network.encoder(encoder)(prepared.gather(part))
                    if head is not None:
                        made = replace(made, outputs=own_outputs(head, made))
                    parts.append(made)
                own[encoder] = self._together(parts)
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


def _in_memory(source: Source) -> Column:
    return source if isinstance(source, Column) else source.read(torch.arange(len(source)))  # type: ignore[attr-defined]


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
