"""Columns that belong together, no target: each row's cells find each other among those of all rows; answers are vectors"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError
from mmcli.reporting import retrieval_charts, retrieval_metrics
from mmcli.reporting.metrics import Array, Interval, Metric, interval_of
from mmcli.reporting.svg import Figure
from mmcli.signals import Outputs
from mmcli.tasks import Ability, Cells, Evidence, Likeness, Task
from mmcli.vectors import plain
from mmcli.vectors.aligned import Aligned, PerColumn, found_by, kin

EXAMPLES = [("red bike", "a"), ("blue bike", "b"), ("red car", "c"), ("tall tree", "d"), ("red bike", "e"), ("green", "a")]
LOSS = 0
"""The column of the readings that holds the loss of a row; the others are ranks, one for each direction."""
MOST_JOINED = 2
"""Columns of one kind from which on they are asked together too."""
METRICS = {"mrr": retrieval_metrics.reciprocal, "ndcg": retrieval_metrics.discounted}
RECALLS = (1, 5, 10)


class Config(BaseConfig):
    """There is nothing to choose."""


@dataclass(frozen=True)
class Direction:
    """Columns that ask, and those that are sought."""

    query: tuple[str, ...]
    sought: tuple[str, ...]

    def __str__(self) -> str:
        return f"{'+'.join(self.query)}->{'+'.join(self.sought)}"

    @property
    def words(self) -> str:
        """For people: `image to name and tags`."""
        return f"{' and '.join(self.query)} to {' and '.join(self.sought)}"

    def places(self, columns: Sequence[str]) -> tuple[list[int], list[int]]:
        """Where they lie among all columns."""
        return [columns.index(own) for own in self.query], [columns.index(own) for own in self.sought]


class Contrastive(Task):
    """Outputs are `Aligned`. Instead of targets there is what is known of a row: its group and its equal cells (`kinship`)."""

    outputs: ClassVar[Outputs] = PerColumn()
    heads: ClassVar[tuple[str, ...]] = ("aligned",)
    needs_target: ClassVar[bool] = False
    gives_embeddings: ClassVar[bool] = True
    compares_rows: ClassVar[bool] = True
    aligns_columns: ClassVar[bool] = True
    features_may_be_swapped: ClassVar[bool] = False
    fusion_families: ClassVar[tuple[str, ...] | None] = ("alignment",)
    default_fusion: ClassVar[str] = "align"
    constant_name: str = "chance"
    baseline_words: ClassVar[dict[str, str]] = {
        "chance": "vectors drawn at random, whatever the cells",
        "cosine": "the cosine of what the linear model sees of columns of one kind, with nothing learnt",
        "linear": "what the columns have in common along linear axes (canonical correlations), chosen by val",
    }
    config: Config

    def __init__(self, config: Config, kinds: Mapping[str, str]) -> None:
        self.config = config
        self.kinds = dict(kinds)
        """Column -> its modality."""
        self.columns = tuple(self.kinds)

    @classmethod
    def sniff(cls, config: Config, cells: Cells) -> Likeness:  # noqa: ARG003 - a target never says that it is one
        return Likeness(0.0, "no target, which --task contrastive does without")

    @classmethod
    def strata(cls, config: Config, cells: Cells) -> list[str]:  # noqa: ARG003 - whatever the options
        return [""] * len(cells)

    @classmethod
    def fit(cls, config: Config, cells: Cells, names: Sequence[str]) -> Self:  # noqa: ARG003 - rows say nothing by themselves
        return cls(config, dict.fromkeys(names, "text"))

    def over(self, inputs: Mapping[str, str]) -> Self:
        if len(inputs) < 2:
            raise DataError(
                f"there is one input, {' '.join(inputs)}: it takes two that belong together",
                "Name more with --input, or take fewer out with --ignore. Numbers and categories are one input unless --each.",
            )
        return type(self)(self.config, inputs)

    def encode(self, cells: Cells) -> Tensor:
        """`kinship` of rows with these cells, one to a column."""
        numbers: dict[str, int] = {}
        each = [[-1 if own is None else numbers.setdefault(str(own), len(numbers)) for own in row] for row in cells]
        known = torch.tensor(each, dtype=torch.int64).reshape(len(each), len(each[0]) if each else len(self.columns))
        return self.kinship(known.T, None)

    def kinship(self, cells: Tensor, groups: Array | None) -> Tensor:
        own = torch.arange(cells.shape[1]) if groups is None else torch.from_numpy(np.asarray(groups, dtype=np.int64))
        return torch.cat([own[:, None], cells.T.long()], 1)

    @property
    def directions(self) -> list[Direction]:
        """From each column to each other."""
        return [Direction((one,), (other,)) for one, other in permutations(self.columns, 2)]

    @property
    def joined_directions(self) -> list[Direction]:
        """From all columns of one kind together, where there are several, to each other column and all of each other kind;
        and back."""
        kinds = {kind: tuple(own for own in self.columns if self.kinds[own] == kind) for kind in self.kinds.values()}
        several = {kind: own for kind, own in kinds.items() if len(own) >= MOST_JOINED}
        found = []
        for kind, own in several.items():
            others: list[tuple[str, ...]] = [(name,) for name in self.columns if self.kinds[name] != kind]
            others += [other for name, other in several.items() if name > kind]
            found += [Direction(*pair) for other in others for pair in ((own, other), (other, own))]
        return found

    @property
    def metrics(self) -> dict[str, bool]:
        return {"mrr": True, "recall_at_1": True, "recall_at_10": True}

    @property
    def all_metrics(self) -> dict[str, bool]:
        """Recalls one after the other."""
        found = super().all_metrics
        return {name: found[name] for name in ("mrr", *(f"recall_at_{most}" for most in RECALLS), "ndcg")}

    @property
    def primary_metric(self) -> str:
        return "mrr"

    def loss(self, outputs: Aligned, targets: Tensor) -> Tensor:
        """Minus the log of the share that a row's own has among those of all, its mean over rows and directions."""
        losses = [own[~own.isnan()].mean() for own in self._found(outputs, targets)[1] if not bool(own.isnan().all())]
        return torch.stack(losses).mean() if losses else 0.0 * outputs.values.sum()

    def _found(self, outputs: Aligned, targets: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Ranks and losses [N] of each direction."""
        ranks, losses = [], []
        for direction in self.directions:
            query, sought = direction.places(self.columns)
            if bool(outputs.asked[query[0]] | outputs.asked[sought[0]]):
                rank, loss = found_by(outputs, targets, query, sought)
            else:
                rank = loss = torch.full((len(outputs),), torch.nan, dtype=torch.float64, device=outputs.values.device)
            ranks.append(rank)
            losses.append(loss)
        return ranks, losses

    def readings(self, outputs: Aligned, targets: Tensor) -> tuple[Array, Array]:
        """float64 [N, 1 + directions]: the mean loss of a row, and its ranks; not a number where there is nothing to find."""
        ranks, losses = self._found(outputs, targets)
        mean = torch.stack(losses, 1).nanmean(1) if losses else torch.zeros(len(outputs))
        found = torch.stack([mean, *ranks], 1)
        return found.detach().cpu().numpy(), targets.cpu().numpy()

    def measures(self) -> dict[str, Metric]:
        def loss(rows: Array, targets: Array, weights: Array) -> Array:  # noqa: ARG001 - it is in the rows
            return np.nan_to_num(retrieval_metrics.mean_where(rows[:, LOSS], weights))

        found = {"loss": loss, "mrr": _over_directions(METRICS["mrr"])}
        return found | {f"recall_at_{most}": _over_directions(_recall(most)) for most in (1, 10)}

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        return {"recall_at_5": (_over_directions(_recall(5)), True), "ndcg": (_over_directions(METRICS["ndcg"]), True)}

    def retrieval(
        self, outputs: Aligned, targets: Tensor, seed: int = 0, groups: Array | None = None
    ) -> dict[str, dict[str, Any]]:
        """Direction -> each metric with its interval over rows, or groups; and how many cells were sought among."""
        weights = self.resamples(targets, seed, groups)
        weights = np.vstack([np.ones((1, len(targets))), weights])
        found = {}
        for direction in [*self.directions, *self.joined_directions]:
            query, sought = direction.places(self.columns)
            ranks = found_by(outputs, targets, query, sought)[0].cpu().numpy()
            rows = int((~np.isnan(ranks)).sum())
            if rows:
                each = {f"recall_at_{most}": _recall(most) for most in RECALLS} | METRICS
                told = {name: interval_of(metric(ranks, weights), rows).as_dict() for name, metric in each.items()}
                found[str(direction)] = {**told, "gallery": int(outputs.of(sought)[1].sum())}
        return found

    def decode(self, outputs: Aligned) -> dict[str, list[Any]]:
        """How alike the columns of a row are: the mean cosine of every two that are there, and that of each two."""
        told, total = {}, torch.zeros(len(outputs), dtype=torch.float64)
        pairs = torch.zeros_like(total)
        for one, other in combinations(range(len(self.columns)), 2):
            both = (outputs.present[:, one] & outputs.present[:, other]).cpu()
            alike = (outputs.values[:, one] * outputs.values[:, other]).sum(1).double().cpu()
            total, pairs = total + alike * both, pairs + both
            told[f"_{self.columns[one]}_{self.columns[other]}"] = _cells(alike, both)
        return {"": _cells(total / pairs.clamp(min=1), pairs > 0), **told}

    def embeddings(self, outputs: Aligned) -> dict[str, list[list[float] | None]]:
        """Column -> the vector of each row's cell; None where it is absent."""
        return {
            name: [
                [round(value, 6) for value in own.tolist()] if here else None
                for own, here in zip(outputs.values[:, place], outputs.present[:, place].tolist(), strict=True)
            ]
            for place, name in enumerate(self.columns)
        }

    def summary(self) -> str:
        return f"{len(self.columns)} columns that belong together: {', '.join(self.columns)}"

    def draw(self, outputs: Aligned, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        return self.draw_beside({"the model": outputs}, targets)

    def draw_beside(self, each: Mapping[str, Aligned], targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """The share found within the first 1, 2, ... of several models by name, of each direction."""
        drawn = {}
        for place, direction in enumerate([*self.directions, *self.joined_directions]):
            query, sought = direction.places(self.columns)
            ranks = {name: found_by(own, targets, query, sought)[0].cpu().numpy() for name, own in each.items()}
            first = next(iter(ranks.values()))
            if not np.isnan(first).all() and place < retrieval_charts.MOST_DRAWN:
                most = max(min(20, int(next(iter(each.values())).of(sought)[1].sum())), 2)
                shares = {name: retrieval_metrics.cumulative_match(own, most) for name, own in ranks.items()}
                count = int(next(iter(each.values())).of(sought)[1].sum())
                said = f"{direction.words}: share of rows whose own is found within the first so many of {count:,}."
                drawn[f"recall-{place + 1}"] = (retrieval_charts.recall(shares, direction.words), said)
        return drawn

    def worst_rows(self, outputs: Aligned, targets: Tensor, most: int) -> list[tuple[int, str]]:  # noqa: ARG002
        """None: an error is a row and what was taken for its own, see `worst_pairs`."""
        return []

    def worst_pairs(self, outputs: Aligned, targets: Tensor, most: int) -> list[tuple[int, int, str]]:
        """Rows whose own comes last in order, with the row that comes first instead."""
        told = []
        for direction in self.directions:
            query, sought = direction.places(self.columns)
            ranks = found_by(outputs, targets, query, sought)[0]
            (asks, _), (answers, there) = outputs.of(query), outputs.of(sought)
            for row in ranks.nan_to_num(0.0).argsort(descending=True, stable=True)[:most].tolist():
                if ranks[row] > 1:
                    out = ~there | kin(targets, torch.tensor([row], device=targets.device), query, sought)[0]
                    alike = (answers @ asks[row]).masked_fill(out, -2.0)  # kin are no wrong answers, nor is the row itself
                    said = (
                        f"{direction.words}: its own comes {int(ranks[row])}. of {int(there.sum())}; first comes the second's"
                    )
                    told.append((float(ranks[row]), row, int(alike.argmax()), said))
        return [(row, other, said) for _, row, other, said in sorted(told, key=lambda own: -own[0])[:most]]

    def within(
        self, outputs: Aligned, targets: Tensor, index: Tensor, seed: int = 0, groups: Array | None = None
    ) -> dict[str, Interval]:
        """Rows of a slice look for their own among all rows."""
        rows, _ = self.readings(outputs, targets)
        weights, place = np.vstack([np.ones((1, len(targets))), self.resamples(targets, seed, groups)]), index.numpy()
        measures = self.measures()
        return {
            name: interval_of(measures[name](rows[place], targets.numpy()[place], weights[:, place]), len(place))
            for name in self.metrics
        }

    def lacks(self, ability: Ability) -> str:
        return "" if ability == "linear baseline" else super().lacks(ability)

    def constant_baseline(self, targets: Tensor, rows: int) -> Aligned:  # noqa: ARG002 - whatever is known
        generator = torch.Generator().manual_seed(0)
        count = max(len(self.columns), 1)
        drawn = F.normalize(torch.randn(rows, count, 16, generator=generator), dim=2)
        return Aligned(drawn, torch.ones(rows, count, dtype=torch.bool), torch.ones(count, dtype=torch.bool))

    def more_baselines(self, inputs: Mapping[str, Evidence], targets: Tensor, train: Tensor, val: Tensor) -> dict[str, Aligned]:
        found = {}
        alike = plain.alike({name: (own.features, own.texts) for name, own in inputs.items()}, targets, self.columns, train)
        if alike is not None:
            found["cosine"] = alike
        blocks = {name: plain.reduced(own.features, train) for name, own in inputs.items()}

        def worth(own: Aligned) -> tuple[float, float]:
            score = self.score(self.outputs.gather(own, val), targets[val]) if len(val) else {"mrr": 0.0, "loss": 0.0}
            return score["mrr"], -score["loss"]

        found["linear"] = plain.linear(blocks, targets, self.columns, train, worth)
        return found

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(), "kinds": self.kinds}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), state["kinds"])


def _recall(most: int) -> Any:
    return lambda ranks, weights: retrieval_metrics.ranked(ranks, weights, most)


def _over_directions(each: Any) -> Metric:
    """The mean of a metric of ranks over the directions in which something is to be found; 0 where there is none."""

    def metric(rows: Array, targets: Array, weights: Array) -> Array:  # noqa: ARG001 - it is in the rows
        found = [each(ranks, weights) for ranks in rows[:, LOSS + 1 :].T if not np.isnan(ranks).all()]
        return np.mean([np.nan_to_num(own) for own in found], axis=0) if found else np.zeros(len(weights))

    return metric


def _cells(values: Tensor, there: Tensor) -> list[float | None]:
    return [round(own, 6) if here else None for own, here in zip(values.tolist(), there.tolist(), strict=True)]
