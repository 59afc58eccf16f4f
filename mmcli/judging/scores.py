"""How answers are judged: every metric with its interval, the difference of two models, the rows that are drawn for them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from mmcli.judging.weights import Weighed
from mmcli.reporting import metrics
from mmcli.reporting.metrics import Array, Interval, Metric
from mmcli.signals import Outputs
from mmcli.vectors.numbers import NUMBERS


class Judged(Weighed):
    """A kind of target whose answers are told by metrics of `readings`, each row with its weight."""

    outputs: ClassVar[Outputs] = NUMBERS
    """What kind of answer its heads give."""

    levels: Sequence[float] = ()
    """Where quantiles of one number are what is answered: which, rising."""

    @property
    @abstractmethod
    def metrics(self) -> dict[str, bool]:
        """Metric -> whether higher is better."""

    @property
    @abstractmethod
    def primary_metric(self) -> str:
        """The one that training and leaderboards go by."""

    @abstractmethod
    def measures(self) -> dict[str, Metric]:
        """Each metric as a function of `readings`, and `loss`."""

    @abstractmethod
    def readings(self, outputs: Any, targets: Tensor) -> tuple[Array, Array]:
        """Outputs and targets as the metrics want them."""

    drawn: ClassVar[str] = "rows"
    """What `draws` draws."""

    def draws(self, targets: Tensor) -> Array | None:  # noqa: ARG002 - mostly rows are
        """Which rows [N] are drawn together in a bootstrap where the table names no groups, by number; None: each by itself."""
        return None

    def score(self, outputs: Any, targets: Tensor) -> dict[str, float]:
        """Every metric, and `loss`."""
        predicted, right = self.readings(outputs, targets)
        counting = self.counting(targets)
        return {name: float(metric(predicted, right, counting)[0]) for name, metric in self.measures().items()}

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        """What `evaluate` tells besides `metrics`: name -> (metric, whether higher is better)."""
        return {}

    def untold(self, targets: Tensor) -> frozenset[str]:  # noqa: ARG002 - most tell all
        """Which of `more_metrics` rows with these targets are too few for."""
        return frozenset()

    def operating_points(
        self,
        outputs: Any,  # noqa: ARG002 - for those that accept or refuse
        targets: Tensor,  # noqa: ARG002
        seed: int = 0,  # noqa: ARG002
        groups: Array | None = None,  # noqa: ARG002
    ) -> list[dict[str, float]]:
        """Of each rate at which impostors may be accepted, `far`, for which rows are enough: the `threshold` on the score, the
        `probability` that it is as `predict` writes it, where it writes one, and the true pairs accepted, `tar`, with a 95%
        interval: `low` and `high`."""
        return []

    def threshold_said(self, outputs: Any) -> str:  # noqa: ARG002 - for those that accept or refuse
        """What the settled threshold is, in words; empty where nothing is accepted or refused."""
        return ""

    def errors_at_threshold(
        self,
        outputs: Any,  # noqa: ARG002 - for those that accept or refuse
        targets: Tensor,  # noqa: ARG002
        index: Tensor,  # noqa: ARG002
        seed: int = 0,  # noqa: ARG002
        groups: Array | None = None,  # noqa: ARG002
    ) -> dict[str, dict[str, float]]:
        """Of those of the rows `index` the errors at that threshold: `far`, impostors accepted, and `frr`, those that belong
        together refused; each a share, `value`, with its 95% interval `low` to `high`, and how many are `wrong` of `n`."""
        return {}

    @property
    def all_metrics(self) -> dict[str, bool]:
        """Metric -> whether higher is better, of all that `evaluate` tells."""
        return {**self.metrics, **{name: higher for name, (_, higher) in self.more_metrics().items()}}

    def intervals(
        self, outputs: Any, targets: Tensor, seed: int = 0, groups: Array | None = None, more: bool = False
    ) -> dict[str, Interval]:
        """Every metric with its 95% bootstrap interval, over whole groups where `groups` [N] are given; with `more_metrics`."""
        predicted, right = self.readings(outputs, targets)
        weights = self.resamples(targets, seed, groups)
        measures = self.measures()
        found = {name: measures[name] for name in self.metrics}
        found |= {name: metric for name, (metric, _) in self.more_metrics().items()} if more else {}
        own = self.counting(targets)
        told = {name: metrics.interval(metric, predicted, right, weights, own) for name, metric in found.items()}
        return self.of_rows({name: told[name] for name in self.all_metrics if name in told}, predicted)

    def of_rows(self, found: dict[str, Interval], predicted: Array) -> dict[str, Interval]:  # noqa: ARG002 - most of all
        """The intervals, each with the number of rows that its metric is of, by what was read of the outputs."""
        return found

    def resamples(self, targets: Tensor, seed: int = 0, groups: Array | None = None) -> Array:
        """How much each row counts in each bootstrap resample, [R, N]: how often it is drawn, times its weight where it has
        one. A resample in which no row counts for anything is left out."""
        groups = self.draws(targets) if groups is None else groups
        drawn = metrics.resample_weights(len(targets), seed=seed, groups=groups)
        if self.parted(targets)[1] is None:
            return drawn
        drawn = drawn * self.counting(targets)
        counted: Array = drawn[drawn.sum(1) > 0]
        return counted

    def within(
        self, outputs: Any, targets: Tensor, index: Tensor, seed: int = 0, groups: Array | None = None
    ) -> dict[str, Interval]:
        """The metrics of the rows `index`, a slice of those given: `intervals` of theirs, where a row is judged by itself."""
        groups = None if groups is None else groups[index.numpy()]
        return self.intervals(self.outputs.gather(outputs, index), targets[index], seed, groups)

    def taught(self, outputs: Any) -> Any:
        """Outputs of train rows as they are judged: not by what is kept of these very rows."""
        return outputs

    @property
    def attributed_by(self) -> str:
        """The metric that is shared out among the inputs: the primary one, unless it is slow to get."""
        return self.primary_metric

    def attributed(self, outputs: Any, targets: Tensor) -> tuple[Array, Array]:
        """Outputs and targets as that metric wants them."""
        return self.readings(outputs, targets)

    def disputed(self) -> tuple[Array, Array, Array] | None:
        """Readings of one row that are right, others that are wrong, and its targets; None where a model is never just right or
        wrong, so that two that differ do so on any rows."""
        return None

    def gain(
        self,
        outputs: Any,
        other: Any,
        targets: Tensor,
        seed: int = 0,
        groups: Array | None = None,
        cautious: bool = False,
        metric: str = "",
    ) -> Interval:
        """How much better `outputs` are than `other` by the primary metric, or another (`loss`), in pairs; above zero is
        better. A `cautious` interval counts that either may be right alone on rows that have not been seen, though these
        few show none."""
        weights = self.resamples(targets, seed, groups)
        one, right = self.readings(outputs, targets)
        two, _ = self.readings(other, targets)
        one, two = (one, two) if self.metrics.get(metric or self.primary_metric, False) else (two, one)
        unseen = self.disputed() if cautious else None
        measure, own = self.measures()[metric or self.primary_metric], self.counting(targets)
        return metrics.difference(measure, one, two, right, weights, unseen, seed, own)

    @property
    def primary_higher_is_better(self) -> bool:
        return self.metrics[self.primary_metric]
