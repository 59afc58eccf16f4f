"""Who or what a row is: one of the identities of train, or one that train has never seen; answers are unit vectors"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError
from mmcli.reporting import retrieval_charts, retrieval_metrics
from mmcli.reporting.metrics import Array, Interval, Metric, interval_of
from mmcli.reporting.svg import Figure
from mmcli.signals import Outputs
from mmcli.tables.names import tidy
from mmcli.tasks import Ability, Cells, Likeness, Task
from mmcli.vectors import discriminant
from mmcli.vectors.embedded import BLOCK, Embedded, Vectors

LOSS, RANK, START = 0, 1, 2
"""Columns of the readings: the loss of a row, its rank, and from where on its vector."""
SCALE = 16.0
"""What similarities are multiplied by before they become shares."""
LEAST_GROUPS = 5
"""Identities from which on intervals are of identities drawn, not of rows."""


class Config(BaseConfig):
    """What is kept to be compared with."""

    enrolled: int = Field(20_000, ge=2)
    """Most train rows that others are held against."""


class Identify(Task):
    """Outputs are `Embedded`: a row's unit vector, beside those of the train rows, which are enrolled.

    A row of an identity that train has is looked up among the train rows. Where train has none of a split's identities, each
    row is looked up among the others of its split. Whether two rows are of one identity is asked of the pairs of a split."""

    outputs: ClassVar[Outputs] = Vectors()
    heads: ClassVar[tuple[str, ...]] = ("embedding",)
    gives_embeddings: ClassVar[bool] = True
    compares_rows: ClassVar[bool] = True
    features_may_be_swapped: ClassVar[bool] = False
    new_classes_after_train: ClassVar[bool] = True
    must_vary: ClassVar[bool] = True
    drawn: ClassVar[str] = "identities"
    fusion_families: ClassVar[tuple[str, ...] | None] = ("feature", "token")
    target_names: ClassVar[tuple[str, ...]] = ("person", "identity", "subject", "individual", "speaker", "character", "who")
    constant_name: str = "chance"
    baseline_words: ClassVar[dict[str, str]] = {
        "chance": "vectors drawn at random, whatever the inputs",
        "nearest": "the cosine of what the linear model sees, with nothing learnt",
        "linear": "principal axes and linear discriminants of the same inputs (fisherfaces)",
    }

    def __init__(self, config: Config, names: Sequence[str], known: int, rows: int, primary: str, alone: int = 0) -> None:
        self.config = config
        self.names = list(names)
        self.known = known
        """Identities that train has: the first of the names."""
        self.enrolled = rows
        """Train rows that are kept to be compared with."""
        self.primary = primary
        self.alone = alone
        """Identities of train that have one row."""

    @classmethod
    def sniff(cls, config: Config, cells: Cells) -> Likeness:  # noqa: ARG003 - a target never says that it is one
        return Likeness(0.0, "classes, which --task identify takes for identities")

    @classmethod
    def strata(cls, config: Config, cells: Cells) -> list[str]:  # noqa: ARG003 - whatever the options
        return [str(cell) for (cell,) in cells]

    @classmethod
    def fit(cls, config: Config, cells: Cells, names: Sequence[str]) -> Self:
        if len(names) > 1:
            raise DataError(f"an identity is one column, not {', '.join(names)}", "Give one --target.")
        found = [tidy(str(cell)) for (cell,) in cells]
        known = sorted(set(found))
        if len(known) < 2 or len(known) == len(found):
            said = "one identity" if len(known) < 2 else "no identity with two rows"
            raise DataError(
                f"the target {names[0]!r} has {said} in the train split; there is nothing to be told apart, or nothing alike",
                "Choose the column that says who or what a row shows with --target, or give train more rows of each: --split.",
            )
        alone = sum(count == 1 for count in Counter(found).values())
        return cls(config, known, len(known), min(len(found), config.enrolled), "rank1", alone)

    def admitting(self, cells: Cells) -> Self:
        """Identities that only val or test have come after those of train; where train has none of them, models are chosen by
        the equal error rate."""
        found = {tidy(str(cell)) for (cell,) in cells}
        more = sorted(found - set(self.names))
        known = set(self.names[: self.known])
        primary = "eer" if found and not found & known else self.primary
        return type(self)(self.config, [*self.names, *more], self.known, self.enrolled, primary, self.alone)

    @property
    def metrics(self) -> dict[str, bool]:
        return {"rank1": True, "rank5": True, "eer": False}

    @property
    def primary_metric(self) -> str:
        return self.primary

    @property
    def answers(self) -> Sequence[str]:
        return self.names

    def encode(self, cells: Cells) -> Tensor:
        """int64 [N]: places among the names."""
        index = self._places
        found = [tidy(str(cell)) for (cell,) in cells]
        missing = next((name for name in found if name not in index), None)
        if missing is not None:
            raise DataError(f"the identity {missing!r} is in no split", "Preprocess the table again.")
        return torch.tensor([index[name] for name in found], dtype=torch.int64)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def loss(self, outputs: Embedded, targets: Tensor) -> Tensor:
        """Of rows beside each other: minus the log of the share that those of the own identity have among all others."""
        losses = _beside(outputs.values, targets)
        return losses[~losses.isnan()].mean() if bool((~losses.isnan()).any()) else outputs.values.sum() * 0.0

    def measures(self) -> dict[str, Metric]:
        def loss(rows: Array, targets: Array, weights: Array) -> Array:  # noqa: ARG001 - it is in the rows
            return np.nan_to_num(retrieval_metrics.mean_where(rows[:, LOSS], weights))

        eer = retrieval_metrics.of_vectors(START, retrieval_metrics.equal_error_rate)
        return {"loss": loss, "rank1": _ranked(1), "rank5": _ranked(5), "eer": eer}

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        return {f"tar_at_far_{rate:g}": (_true_accepts(rate), True) for rate in retrieval_metrics.FALSE_RATES}

    def readings(self, outputs: Embedded, targets: Tensor) -> tuple[Array, Array]:
        """[N, 2 + D]: loss, rank (not a number where there is nothing to find), vector."""
        ranks, losses = self._found(outputs, targets.to(outputs.values.device))
        columns = [losses[:, None], ranks[:, None], outputs.values]
        return torch.cat([own.detach().double() for own in columns], 1).cpu().numpy(), targets.cpu().numpy()

    def _found(self, outputs: Embedded, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Rank and loss of each row, not a number where it has no match: among the enrolled, if they have any of the rows'
        identities, else among the rows themselves. Ties count against."""
        best, names = outputs.by_identity()
        if bool(torch.isin(targets, names).any()):
            own = names[None] == targets[:, None]
            found = own.any(1)
            score = torch.where(own, best, -2.0).amax(1) if len(names) else best.new_full((len(best),), -2.0)
            ranks = 1 + ((best >= score[:, None]) & ~own).sum(1).double()
            losses = SCALE * best.double()
            losses = losses.logsumexp(1) - SCALE * score.double()
            return torch.where(found, ranks, torch.nan), torch.where(found, losses, torch.nan)
        among = Embedded(outputs.values, outputs.values, targets, outputs.threshold)
        return _ranks_beside(among), _beside(outputs.values, targets)

    def taught(self, outputs: Embedded) -> Embedded:
        """Each among the others."""
        return outputs.by_themselves()

    def decode(self, outputs: Embedded) -> dict[str, list[Any]]:
        """The nearest enrolled identity, how similar it is, and whether that is enough to accept it."""
        best, names = outputs.by_identity()
        if not len(names):
            return {"": [None] * len(best), "_similarity": [None] * len(best), "_accepted": [False] * len(best)}
        score, place = best.max(1)
        return {
            "": [self.names[int(names[own])] for own in place],
            "_similarity": [round(own, 6) for own in score.tolist()],
            "_accepted": (score >= outputs.threshold).tolist(),
        }

    def summary(self) -> str:
        more = len(self.names) - self.known
        beside = f", {more} more in val or test" if more else ""
        alone = f", {self.alone:,} of which have one row, so nothing shows what their rows share" if self.alone else ""
        return f"{self.known:,} identities in train{alone}{beside}; judged by {self.primary_metric}"

    def draw(self, outputs: Embedded, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        rows, identities = self.readings(outputs, targets)
        pairs = retrieval_metrics.Verification.of_vectors(rows[:, START:], identities)
        drawn = {}
        if not np.isnan(rows[:, RANK]).all():
            shares = retrieval_metrics.cumulative_match(rows[:, RANK], min(20, max(len(self.names) - 1, 2)))
            drawn["cmc"] = (retrieval_charts.cumulative_match(shares), "Share of rows found within the first so many (CMC).")
        if pairs.same.any() and not pairs.same.all():
            drawn |= retrieval_charts.of_pairs(pairs)
        return drawn

    def worst_rows(self, outputs: Embedded, targets: Tensor, most: int) -> list[tuple[int, str]]:
        """Rows that are not the first to be found, those first that are the furthest off."""
        ranks = self._found(outputs, targets)[0]
        best, names = outputs.by_identity()
        order = [row for row in ranks.nan_to_num(0.0).argsort(descending=True, stable=True).tolist() if ranks[row] > 1][:most]
        known = bool(torch.isin(targets, names).any())
        said = []
        for row in order:
            of = f"; most like {self.names[int(names[best[row].argmax()])]!r}, {float(best[row].max()):.2f}" if known else ""
            said.append((row, f"its own identity comes {int(ranks[row])}. in order{of}"))
        return said

    def taken_for(self, outputs: Embedded, targets: Tensor, rows: Sequence[int]) -> list[int] | None:
        """In an open set, where none is of an identity that is enrolled: the row of another identity that is most alike."""
        if not rows or bool(torch.isin(targets, outputs.identities).any()):
            return None
        alike = outputs.values[list(rows)] @ outputs.values.T
        alike[targets[list(rows)][:, None] == targets[None]] = -2.0
        found: list[int] = alike.argmax(1).tolist()
        return found

    def worst_pairs(self, outputs: Embedded, targets: Tensor, most: int) -> list[tuple[int, int, str]]:
        """Pairs of one identity that are the least alike, and of two that are the most."""
        pairs = retrieval_metrics.Verification.of_vectors(outputs.values.double().cpu().numpy(), targets.cpu().numpy())
        same, other = np.flatnonzero(pairs.same)[::-1][: most // 2], np.flatnonzero(~pairs.same)[: most - most // 2]
        told = [(own, "one identity") for own in same] + [(own, "two identities") for own in other]
        return [
            (int(pairs.first[own]), int(pairs.second[own]), f"{said}, similarity {pairs.scores[own]:.2f}") for own, said in told
        ]

    def operating_points(
        self, outputs: Embedded, targets: Tensor, seed: int = 0, groups: Array | None = None
    ) -> list[dict[str, float]]:
        """Of pairs of rows, by their similarity: no probability is told."""
        rows, identities = self.readings(outputs, targets)
        pairs = retrieval_metrics.Verification.of_vectors(rows[:, START:], identities)
        return retrieval_metrics.operating_points(pairs, self.resamples(targets, seed, groups))

    def threshold_said(self, outputs: Embedded) -> str:
        return f"a similarity of {float(outputs.threshold):.3f}, as val settled it"

    def errors_at_threshold(
        self, outputs: Embedded, targets: Tensor, index: Tensor, seed: int = 0, groups: Array | None = None
    ) -> dict[str, dict[str, float]]:
        """Of the pairs with a row among these."""
        rows, identities = self.readings(outputs, targets)
        pairs = retrieval_metrics.Verification.of_vectors(rows[:, START:], identities).touching(index.numpy())
        return retrieval_metrics.errors(pairs, self.resamples(targets, seed, groups), float(outputs.threshold))

    def within(
        self, outputs: Embedded, targets: Tensor, index: Tensor, seed: int = 0, groups: Array | None = None
    ) -> dict[str, Interval]:
        """Rows of a slice are looked up as ever, also among rows that are not in it; its pairs are those with a row in it."""
        rows, identities = self.readings(outputs, targets)
        weights, place, ones = self.resamples(targets, seed, groups), index.numpy(), np.ones((1, len(targets)))
        pairs = retrieval_metrics.Verification.of_vectors(rows[:, START:], identities).touching(place)
        found = {"eer": interval_of(retrieval_metrics.equal_error_rate(pairs, np.vstack([ones, weights])), len(place))}
        for name, most in (("rank1", 1), ("rank5", 5)):
            values = retrieval_metrics.ranked(rows[place, RANK], np.vstack([ones, weights])[:, place], most)
            found[name] = interval_of(values, len(place))
        return self.of_rows({name: found[name] for name in self.metrics}, rows[place])

    def of_rows(self, found: dict[str, Interval], predicted: Array) -> dict[str, Interval]:
        """Those of ranks are of the rows that have one: of others nothing is enrolled to be found."""
        count = int((~np.isnan(predicted[:, RANK])).sum())
        return {name: replace(own, n=count) if name.startswith("rank") else own for name, own in found.items()}

    def draws(self, targets: Tensor) -> Array | None:
        """Identities are drawn, where there are some: rows of one are not independent."""
        found = targets.cpu().numpy()
        return found if len(np.unique(found)) >= LEAST_GROUPS else None

    def lacks(self, ability: Ability) -> str:
        return "" if ability == "linear baseline" else super().lacks(ability)

    def constant_baseline(self, targets: Tensor, rows: int) -> Embedded:
        generator = torch.Generator().manual_seed(0)
        drawn = F.normalize(torch.randn(rows + len(targets), 16, generator=generator), dim=1)
        return Embedded(drawn[:rows], drawn[rows:], targets, torch.ones(()))

    def nearest_baseline(self, features: Any, targets: Tensor, train: Tensor) -> Embedded:
        return _enrolled(_dense(features, train), targets, train)

    def linear_baseline(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Any:
        """Fisherfaces, the shrinkage chosen among four on val."""
        dense, best, chosen = _dense(features, train), None, (float("-inf"), 0.0)
        sign = 1 if self.primary_higher_is_better else -1
        axes = discriminant.principal(dense[train])
        projected = axes.of(dense)
        for shrinkage in (0.01, 0.1, 0.5, 0.9):
            directions = discriminant.discriminants(projected[train], targets[train], shrinkage)
            found = _enrolled(projected @ directions, targets, train)
            score = self.score(self.outputs.gather(found, val), targets[val]) if len(val) else {self.primary: 0.0, "loss": 0.0}
            rank = (sign * np.nan_to_num(score[self.primary]), -score["loss"])
            if best is None or rank > chosen:
                best, chosen = found, rank
        return best

    def state(self) -> dict[str, Any]:
        own = {"names": self.names, "known": self.known, "enrolled": self.enrolled, "primary": self.primary}
        return {"config": self.config.model_dump(), **own, "alone": self.alone}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        own = (state["names"], state["known"], state["enrolled"], state["primary"])
        return cls(Config(**state["config"]), *own, state.get("alone", 0))


def _ranked(most: int) -> Metric:
    return lambda rows, targets, weights: retrieval_metrics.ranked(rows[:, RANK], weights, most)  # noqa: ARG005


def _true_accepts(rate: float) -> Metric:
    return retrieval_metrics.of_vectors(START, lambda own, weights: retrieval_metrics.true_accepts(own, weights, rate))


def _enrolled(features: Tensor, targets: Tensor, train: Tensor) -> Embedded:
    values = F.normalize(features.float(), dim=1)
    return Embedded(values, values[train], targets[train], torch.ones(()))


def _dense(features: Any, train: Tensor) -> Tensor:
    """As a tensor, sparse ones on their first 256 axes, those of the rows `train`."""
    if hasattr(features, "toarray"):
        from sklearn.decomposition import TruncatedSVD

        taught = features[train.numpy()]
        axes = max(min(256, min(taught.shape) - 1), 1)
        features = TruncatedSVD(axes, random_state=0).fit(taught).transform(features)
    return torch.from_numpy(np.asarray(features)).float()


def _ranks_beside(among: Embedded) -> Tensor:
    """The rank of each row's own identity among the other rows; not a number where it has no other row."""
    names, place = torch.unique(among.identities, return_inverse=True)
    ranks = []
    for index in torch.arange(len(place), device=place.device).split(BLOCK):
        alike = among.values[index] @ among.values.T
        alike[torch.arange(len(index), device=place.device), index] = -2.0
        best = alike.new_full((len(index), len(names)), -2.0).scatter_reduce(1, place.expand(len(index), -1), alike, "amax")
        score = best.gather(1, place[index][:, None])
        beaten = (best >= score).sum(1).double()  # itself among them
        ranks.append(torch.where(score[:, 0] > -2.0, beaten, torch.nan))
    return torch.cat(ranks) if ranks else among.values.new_zeros(0)


def _beside(values: Tensor, targets: Tensor) -> Tensor:
    """[N]: minus the log of the share of the own identity's rows among the others; not a number where there are none."""
    losses = []
    for index in torch.arange(len(values), device=values.device).split(BLOCK):
        alike = SCALE * values[index].float() @ values.float().T
        itself = torch.zeros_like(alike, dtype=torch.bool)
        itself[torch.arange(len(index), device=values.device), index] = True
        own = (targets[index][:, None] == targets[None]) & ~itself
        score = alike.masked_fill(~own, -torch.inf).logsumexp(1)
        losses.append(torch.where(own.any(1), alike.masked_fill(itself, -torch.inf).logsumexp(1) - score, torch.nan))
    return torch.cat(losses) if losses else values.new_zeros(0)
