"""Whether the columns of a row that share an encoder belong together: 1 or 0, yes or no; primary metric auroc.

Outputs are two logits; what their difference must pass is settled on val and lies in the second, so that a probability of .5 is
the threshold: that of the best accuracy, or one that accepts no more impostors than --far allows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError
from mmcli.reporting import charts, verification
from mmcli.reporting.classes import ClassScore, one_of
from mmcli.reporting.metrics import Array, Metric, resample_weights
from mmcli.reporting.svg import Figure
from mmcli.signals import Decision
from mmcli.tables.names import tidy
from mmcli.tasks import Ability, Cells, Likeness, Task

_YES = "1 1.0 true t yes y same match matches matching matched positive genuine together ja gleich wahr oui vrai même sí igual"
_NO = "0 0.0 -1 false f no n different differs mismatch impostor negative apart nein verschieden falsch non faux distinto"
SAYS = {
    **dict.fromkeys((*_YES.split(), "是", "真", "相同", "同", "一致", "匹配", "はい", "同じ"), 1),
    **dict.fromkeys(
        (*_NO.split(), "no match", "not same", "not the same", "否", "假", "不同", "异", "不一致", "不匹配", "いいえ", "違う"),
        0,
    ),
}
"""A cell in small letters -> whether it says that columns belong together."""
EXAMPLES = [("1",), ("0",), ("1",), ("0",), ("0",), ("1",), ("1",), ("0",)]


class Config(BaseConfig):
    """Where the threshold lies."""

    far: float = Field(0.0, ge=0, lt=1)
    """The most of the impostors in val that are accepted (--far); 0 settles the threshold for accuracy."""


class Match(Task):
    """Cross-entropy of two logits."""

    has_classes: ClassVar[bool] = True
    must_vary: ClassVar[bool] = True
    compares_columns: ClassVar[bool] = True
    compares_rows: ClassVar[bool] = True
    features_may_be_swapped: ClassVar[bool] = False
    default_fusion: ClassVar[str] = "compare"
    reference_baseline: ClassVar[str] = "cosine"
    baseline_words: ClassVar[dict[str, str]] = {"majority": "chance, the same answer for every pair"}
    config: Config

    def __init__(self, config: Config, classes: Sequence[str], counts: Sequence[int]) -> None:
        self.config = config
        self.classes = list(classes)
        """How the target writes that columns do not belong together, and that they do."""
        self.counts = list(counts)

    @classmethod
    def sniff(cls, config: Config, cells: Cells) -> Likeness:  # noqa: ARG003 - whatever the options
        """Two values that say yes and no may be classes as well."""
        values = {tidy(str(cell)).lower() for row in cells for cell in row}
        two = len(cells[0]) == 1 and {SAYS.get(value) for value in values} == {0, 1}
        return Likeness(0.3 if two else 0.0, "values that say yes and no" if two else "values that do not say yes and no")

    @classmethod
    def check(cls, config: Config, names: Sequence[str], cells: tuple[str | None, ...]) -> None:  # noqa: ARG003
        cell = tidy(str(cells[0]))
        if cell.lower() not in SAYS:
            what = f"the target {names[0]!r} is {cell!r}, which" if names else repr(cell)
            raise DataError(
                f"{what} does not say whether the columns belong together",
                "Write 1 or 0, or yes or no; or choose the column that says so with --target.",
            )

    @classmethod
    def strata(cls, config: Config, cells: Cells) -> list[str]:  # noqa: ARG003 - whatever the options
        """Yes or no."""
        return [tidy(str(cell)) for (cell,) in cells]

    @classmethod
    def fit(cls, config: Config, cells: Cells, names: Sequence[str]) -> Self:
        if len(names) > 1:
            raise DataError(f"one column says whether others belong together, not {', '.join(names)}", "Give one --target.")
        counts = Counter(tidy(str(cell)) for (cell,) in cells)
        for row in cells:
            cls.check(config, names, row)
        written: dict[int, str] = {}
        for cell, _ in counts.most_common():
            written.setdefault(SAYS[cell.lower()], cell)
        if len(written) < 2:
            raise DataError(
                f"the target {names[0]!r} has only {', '.join(map(repr, counts))} in the train split; pairs that belong "
                "together and others are needed",
                "Give train rows of both kinds, by another --split or --seed, or choose another --target.",
            )
        kinds = Counter(SAYS[cell.lower()] for cell in counts.elements())
        return cls(config, [written[0], written[1]], [kinds[0], kinds[1]])

    @property
    def metrics(self) -> dict[str, bool]:
        return {name: higher for name, (_, higher) in verification.MATCH.items()}

    @property
    def primary_metric(self) -> str:
        return "auroc"

    @property
    def decision(self) -> Decision:
        return Decision(2, "softmax")

    def lacks(self, ability: Ability) -> str:
        if ability == "calibration by class":
            return "its threshold is settled on val, and a scale for each answer would move it"
        return super().lacks(ability)

    @property
    def answers(self) -> Sequence[str]:
        return self.classes

    def encode(self, cells: Cells) -> Tensor:
        for row in cells:
            self.check(self.config, (), row)
        return torch.tensor([SAYS[tidy(str(cell)).lower()] for (cell,) in cells], dtype=torch.int64)

    def decision_head(self) -> nn.Module:
        return _Threshold()

    def settle(self, decide: nn.Module, outputs: Tensor, targets: Tensor) -> None:
        """Moves the threshold to where the rate asked for is kept, or accuracy is best."""
        assert isinstance(decide, _Threshold)
        scores, right = self.readings(outputs, targets)
        decide.shift += verification.threshold(scores[:, 0], right, self.config.far or None)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.float(), targets)

    def measures(self) -> dict[str, Metric]:
        return {"loss": verification.log_loss, **{name: metric for name, (metric, _) in verification.MATCH.items()}}

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        return verification.MORE_OF_MATCH

    def untold(self, targets: Tensor) -> frozenset[str]:
        """Rates that want more impostors than there are."""
        impostors = int((targets == 0).sum())
        return frozenset(f"tar_at_far_{rate:g}" for rate in verification.RATES if impostors < verification.IMPOSTORS / rate)

    def readings(self, outputs: Tensor, targets: Tensor) -> tuple[Array, Array]:
        """Log-odds over the threshold, float64 [N, 1]."""
        own = outputs.double().cpu()
        return (own[:, 1:2] - own[:, :1]).numpy(), targets.cpu().numpy()

    def disputed(self) -> tuple[Array, Array, Array]:
        """A pair that belongs together, found or not."""
        return np.ones((1, 1)), -np.ones((1, 1)), np.ones(1, dtype=np.int64)

    def decode(self, outputs: Tensor) -> dict[str, list[Any]]:
        """The answer as the target writes it, and the probability that the columns belong together: above .5 says so."""
        probability = outputs.double().softmax(1)[:, 1].cpu().numpy()
        return {
            "": [self.classes[int(own > 0.5)] for own in probability],
            "_probability": probability.round(6).tolist(),
        }

    def summary(self) -> str:
        what = f"{self.counts[1]:,} pairs that belong together ({self.classes[1]}) and {self.counts[0]:,} that do not in train"
        return what + (f"; threshold for a false accept rate of {self.config.far:g}" if self.config.far else "")

    def draw(self, outputs: Tensor, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """ROC, DET, and the scores of both kinds."""
        scores, right = self.readings(outputs, targets)
        _, far, tar = verification.roc(scores, right, np.ones((1, len(right))))
        value = float(verification.eer(scores, right, np.ones((1, len(right))))[0])
        few = sorted(name.removeprefix("tar_at_far_") for name in self.untold(targets))
        more = f" FAR {' and '.join(few)}: fewer impostors than 30 / FAR, so no rate is told." if few else ""
        return {
            "roc": (charts.roc(far[0], tar[0]), f"True pairs accepted by impostors accepted.{more}"),
            "det": (
                charts.det(far[0], 1 - tar[0], value),
                f"Both errors at every threshold; they are equal at {value:.3f}. An error that none makes is on the edge.",
            ),
            "scores": (
                charts.two_kinds(scores[:, 0], right == 1, self.classes),
                "The log-odds over the threshold, of pairs that belong together and of others.",
            ),
        }

    def operating_points(
        self, outputs: Tensor, targets: Tensor, seed: int = 0, groups: Array | None = None
    ) -> list[dict[str, float]]:
        scores, right = self.readings(outputs, targets)
        found = verification.rates(scores, right, resample_weights(len(right), seed=seed, groups=groups))
        cuts = torch.tensor([row["threshold"] for row in found], dtype=torch.float64).sigmoid().tolist()
        return [{**row, "probability": cut} for row, cut in zip(found, cuts, strict=True)]

    def threshold_said(self, outputs: Tensor) -> str:  # noqa: ARG002 - it is in them
        return "a probability of .5, which val settled"

    def errors_at_threshold(
        self, outputs: Tensor, targets: Tensor, index: Tensor, seed: int = 0, groups: Array | None = None
    ) -> dict[str, dict[str, float]]:
        return verification.errors(*self.readings(outputs, targets), self.resamples(targets, seed, groups), index.numpy())

    def by_class(self, outputs: Tensor, targets: Tensor) -> list[ClassScore]:
        return one_of(outputs.argmax(1).cpu().numpy(), targets.cpu().numpy(), self.classes)

    def constant_baseline(self, targets: Tensor, rows: int) -> Tensor:
        share = torch.bincount(targets, minlength=2).double() / max(len(targets), 1)
        return share.clamp(min=1e-12).log().expand(rows, -1).clone()

    def linear_baseline(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Tensor:
        """Logistic regression of the columns side by side, its regularisation chosen among four on val by the log loss."""
        from sklearn.linear_model import LogisticRegression

        best, least = None, float("inf")
        chosen_on = val if len(val) else train
        for strength in (0.3, 3.0, 30.0, 300.0):
            model = LogisticRegression(C=strength, max_iter=300, tol=1e-3).fit(features[train.numpy()], targets[train].numpy())
            odds = torch.from_numpy(model.decision_function(features))
            outputs = torch.stack([torch.zeros_like(odds), odds], 1)
            loss = self.score(outputs[chosen_on], targets[chosen_on])["loss"]
            if loss < least:
                best, least = outputs, loss
        assert best is not None
        return best

    def cosine_baseline(self, cosine: Tensor, targets: Tensor, val: Tensor) -> Tensor:
        """The cosine itself over the threshold that val settles."""
        cut = verification.threshold(cosine[val].double().numpy(), targets[val].numpy(), self.config.far or None)
        return torch.stack([torch.zeros_like(cosine), cosine - cut], 1).double()

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(), "classes": self.classes, "counts": self.counts}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), state["classes"], state["counts"])


class _Threshold(nn.Module):
    """Takes what log-odds must pass from the second logit."""

    def __init__(self) -> None:
        super().__init__()
        self.shift: Tensor
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, outputs: Tensor) -> Tensor:
        return torch.cat([outputs[:, :1], outputs[:, 1:] - self.shift], 1)
