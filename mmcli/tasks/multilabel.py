"""Any number of labels for each row, in one cell with a mark between them or as a list; primary metric micro_f1.

Outputs hold a logit for each label and, beside them, the thresholds that they must pass, a buffer of the head that is tuned on
val once the head is trained: [logits, thresholds], 2 K in all. A temperature divides both and changes no decision.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError
from mmcli.reporting import charts, metrics
from mmcli.reporting.classes import ClassScore, counted
from mmcli.reporting.metrics import Array, Metric
from mmcli.reporting.svg import Figure
from mmcli.signals import Decision, sent
from mmcli.tables.names import listed, tidy
from mmcli.tables.numbers import is_number
from mmcli.tasks import Cells, Likeness, Linear, Task


class Config(BaseConfig):
    """How labels are written, and which are learnt."""

    separator: str = ""
    """The mark between labels (--label-separator)."""
    min_count: int = Field(3, ge=1)
    """Train rows that a label must have to be learnt; rarer ones are named and left out."""
    empty: Literal["none", "unlabelled"] = "none"
    """Whether an empty cell says that the row has none of the labels, or that nobody has labelled it."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` has the rows with a label count as much in its loss as those without, however few they are (--class-weight),
    and the model chosen by macro F1."""
    own_threshold_from: int = Field(15, ge=1)
    """Val rows that a label must have for a threshold of its own; rarer ones share one."""


class Multilabel(Task):
    """Binary cross-entropy for each label."""

    constant_name: str = "frequencies"
    weighable: ClassVar[bool] = True

    def __init__(
        self,
        config: Config,
        labels: Sequence[str],
        counts: Sequence[int],
        left_out: Sequence[str],
        lists: bool = False,
        rows: int = 0,
    ) -> None:
        self.config = config
        self.labels = list(labels)
        self.counts = list(counts)
        self.left_out = list(left_out)
        self.lists = lists
        """Whether cells are lists, as predictions are then."""
        self.rows = rows
        """Of train; known where labels are balanced."""

    @classmethod
    def sniff(cls, config: Config, cells: Cells) -> Likeness:
        """Only where a mark was told that the cells do have, or where all are lists of names."""
        if len(cells[0]) > 1:
            return Likeness(0.0, "several target columns")
        if _are_lists(cells):
            return Likeness(1.0, f"{len(cells)} cells that are lists")
        if not config.separator:
            return Likeness(0.0, "no --label-separator was given")
        several = sum(config.separator in str(cell or "") for (cell,) in cells)
        return Likeness(1.0, f"{several} of {len(cells)} cells hold {config.separator!r}, the --label-separator")

    @classmethod
    def is_labelled(cls, config: Config, cells: tuple[str | None, ...]) -> bool:
        return cells[0] is not None or config.empty == "none"

    @classmethod
    def strata(cls, config: Config, cells: Cells) -> list[str]:
        """Each row's rarest label, so that rare ones reach every split."""
        _require_separator(config, cells)
        rows = [_labels(cell, config.separator) for (cell,) in cells]
        counts = Counter(label for row in rows for label in row)
        return [min(row, key=lambda label: (counts[label], label), default="") for row in rows]

    @classmethod
    def fit(cls, config: Config, cells: Cells, names: Sequence[str]) -> Self:
        if len(names) > 1:
            raise DataError(f"labels are predicted of one column, not of {', '.join(names)}", "Give one --target.")
        lists = _are_lists(cells, told=True)
        _require_separator(config, cells)
        if not lists and not any(config.separator in str(cell or "") for (cell,) in cells):
            example = next((cell for (cell,) in cells if cell), "")
            raise DataError(
                f"no cell of the target {names[0]!r} in train holds {config.separator!r}, the --label-separator: {example!r}",
                "Give the mark that stands between the labels, or --task classification without it.",
            )
        counts = Counter(label for (cell,) in cells for label in set(_labels(cell, config.separator)))
        kept = sorted(label for label, count in counts.items() if config.min_count <= count < len(cells))
        if not kept:
            raise DataError(
                f"no label of the target {names[0]!r} has {config.min_count} train rows or more (and is absent from another): "
                "nothing can be learnt",
                f"Give more rows, or check --target and --label-separator {config.separator!r}.",
            )
        return cls(config, kept, [counts[label] for label in kept], sorted(set(counts) - set(kept)), lists, len(cells))

    @property
    def metrics(self) -> dict[str, bool]:
        return {name: higher for name, (_, higher) in metrics.MULTILABEL.items()}

    @property
    def primary_metric(self) -> str:
        return "micro_f1" if self.config.class_weights == "none" else "macro_f1"

    @property
    def num_outputs(self) -> int:
        return 2 * len(self.labels)

    @property
    def decision(self) -> Decision:
        return Decision(len(self.labels), "sigmoid")

    def encode(self, cells: Cells) -> Tensor:
        """float32 [N, K] of 0 and 1; labels that are not learnt are passed over."""
        index = {label: place for place, label in enumerate(self.labels)}
        targets = torch.zeros(len(cells), len(self.labels))
        for row, (cell,) in enumerate(cells):
            for label in _labels(cell, self.config.separator):
                if label in index:
                    targets[row, index[label]] = 1.0
        return targets

    @property
    def items(self) -> Sequence[str]:
        return self.labels if self.lists else ()

    def decision_head(self) -> nn.Module:
        return _Thresholds(len(self.labels))

    def settle(self, decide: nn.Module, outputs: Tensor, targets: Tensor) -> None:
        """The thresholds that give the best F1 on val: one for all labels, and one each for labels frequent there."""
        assert isinstance(decide, _Thresholds)
        logits = outputs[:, : len(self.labels)].double().cpu().numpy()
        decide.thresholds.copy_(torch.from_numpy(self._thresholds(logits, targets)))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over rows and labels, each row times its weight where it has one."""
        logits, (right, weights) = outputs[:, : len(self.labels)].float(), self.parted(targets)
        balance = self.balance(right)
        if weights is None and balance is None:
            return F.binary_cross_entropy_with_logits(logits, right)
        losses = F.binary_cross_entropy_with_logits(logits, right, weight=balance, reduction="none").mean(1)
        return (losses if weights is None else losses * weights).mean()

    def balance(self, right: Tensor) -> Tensor | None:
        """How much each label of each row counts, [N, K]: N / (2 N_k) with a label that N_k of the N train rows have, and
        N / (2 (N - N_k)) without; None where all count alike."""
        if self.config.class_weights == "none":
            return None
        counts = sent(torch.tensor(self.counts, dtype=right.dtype), right.device)
        return self.rows / 2 * (right / counts + (1 - right) / (self.rows - counts))

    def measures(self) -> dict[str, Metric]:
        found = {"loss": metrics.label_log_loss, **{name: metric for name, (metric, _) in metrics.MULTILABEL.items()}}
        if self.config.class_weights == "none":
            return found

        def loss(predicted: Array, right: Array, weights: Array) -> Array:
            balance = self.balance(torch.from_numpy(right))
            assert balance is not None
            result: Array = weights @ (metrics.label_losses(predicted, right) * balance.numpy()).mean(1) / weights.sum(1)
            return result

        return found | {"loss": loss}

    def readings(self, outputs: Tensor, targets: Tensor) -> tuple[Array, Array]:
        """Margins over the thresholds beside logits, float64 [N, 2 K]."""
        logits, thresholds = outputs.double().cpu().chunk(2, dim=1)
        return torch.cat([logits - thresholds, logits], 1).numpy(), self.parted(targets)[0].double().cpu().numpy()

    def disputed(self) -> tuple[Array, Array, Array]:
        """A row with the first label, which is found or is not."""
        wrong = -np.ones((1, self.num_outputs))
        right, target = wrong.copy(), np.zeros((1, len(self.labels)))
        right[0, [0, len(self.labels)]] = 1.0
        target[0, 0] = 1.0
        return right, wrong, target

    def decode(self, outputs: Tensor) -> dict[str, list[Any]]:
        """The labels joined by the mark (empty where there is none) or as a list, and the probability of each."""
        logits, thresholds = outputs.double().cpu().chunk(2, dim=1)
        chosen = (logits > thresholds).tolist()
        mark = self.config.separator
        found = [[label for label, here in zip(self.labels, row, strict=True) if here] for row in chosen]
        columns: dict[str, list[Any]] = {
            "": [json.dumps(row, ensure_ascii=False) if self.lists else mark.join(row) for row in found]
        }
        for place, label in enumerate(self.labels):
            columns[f"_probability_{label}"] = [round(p, 6) for p in logits[:, place].sigmoid().tolist()]
        return columns

    def summary(self) -> str:
        rare = f" ({len(self.left_out)} too rare to learn: {', '.join(self.left_out[:5])}" if self.left_out else ""
        alike = ", of which each counts alike with it and without" if self.config.class_weights != "none" else ""
        return f"{len(self.labels)} labels{alike}{rare}{', ...)' if len(self.left_out) > 5 else ')' if rare else ''}"

    def draw(self, outputs: Tensor, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """F1 of each label, the commonest first."""
        every = sorted((own for own in self.by_class(outputs, targets) if own.rows), key=lambda own: -own.rows)
        rows = [(own.name, own.rows, own.f1 or 0.0) for own in every[:15]]
        more = f" The {len(rows)} commonest of {len(every)}." if len(rows) < len(every) else ""
        return {"labels": (charts.labels(rows), f"How well each label is found, with the test rows that have it.{more}")}

    def by_class(self, outputs: Tensor, targets: Tensor) -> list[ClassScore]:
        margins, right = self.readings(outputs, targets)
        return counted(margins[:, : len(self.labels)] > 0, right > 0, self.labels)

    def constant_baseline(self, targets: Tensor, rows: int) -> Tensor:
        right, weights = self.parted(targets)
        share = right.double().mean(0) if weights is None else weights.double() @ right.double() / weights.double().sum()
        share = share.clamp(1e-6, 1 - 1e-6)
        logits = share.log() - (1 - share).log()
        if self.config.class_weights != "none":
            logits = 1e-3 * logits  # all but even: the commonest labels are the first to be told
        thresholds = torch.from_numpy(self._thresholds(logits.expand(len(targets), -1).numpy(), targets))
        return torch.cat([logits, thresholds]).expand(rows, -1).clone()

    def linear_model(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Linear | None:
        """Logistic regression of each label, its regularisation chosen among four on val by mean average precision."""
        from sklearn.linear_model import LogisticRegression

        chosen_on = val if len(val) else train
        (right, weights), best, best_score = self.parted(targets[train]), None, -1.0
        own = None if weights is None else weights.double().numpy()[:, None]
        balance = self.balance(right.double())
        if balance is not None:
            own = balance.numpy() * (1.0 if own is None else own)
        for strength in (0.3, 3.0, 30.0, 300.0):
            matrix, bias = np.zeros((features.shape[1], len(self.labels))), np.zeros(len(self.labels))
            for place in range(len(self.labels)):
                if len(alike := right[:, place].unique()) < 2:  # in folds: no row of this train has the label, or each has
                    bias[place] = 30.0 if float(alike[0]) > 0 else -30.0
                    continue
                model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
                counting = None if own is None else own[:, place if balance is not None else 0]
                model.fit(features[train.numpy()], right[:, place].numpy(), sample_weight=counting)
                matrix[:, place], bias[place] = model.coef_[0], model.intercept_[0]
            logits = features @ matrix + bias
            thresholds = self._thresholds(logits[chosen_on.numpy()], targets[chosen_on])
            outputs = torch.from_numpy(np.hstack([logits, np.broadcast_to(thresholds, logits.shape)]))
            score = self.score(outputs[chosen_on], targets[chosen_on])["map"]
            if best is None or score > best_score:
                best, best_score = Linear(outputs, matrix, bias), score
        assert best is not None
        return best

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        return metrics.MORE_OF_LABELS

    def state(self) -> dict[str, Any]:
        learnt = {"labels": self.labels, "counts": self.counts, "left_out": self.left_out, "lists": self.lists}
        rows = {"rows": self.rows} if self.config.class_weights != "none" else {}
        return {"config": self.config.model_dump(), **learnt, **rows}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        learnt = (state["labels"], state["counts"], state["left_out"])
        return cls(Config(**state["config"]), *learnt, lists=state.get("lists", False), rows=state.get("rows", 0))

    def _thresholds(self, logits: Array, targets: Tensor) -> Array:
        right, counting = self.parted(targets)[0].double().cpu().numpy(), self.counting(targets)[0]
        shared = _best_threshold(logits.ravel(), right.ravel(), np.repeat(counting, right.shape[1]))
        thresholds = np.full(logits.shape[1], shared)
        for place in np.flatnonzero(right.sum(0) >= self.config.own_threshold_from):
            thresholds[place] = _best_threshold(logits[:, place], right[:, place], counting)
        return thresholds


class _Thresholds(nn.Module):
    """Logits [B, K] -> [B, 2 K], the thresholds beside them."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.thresholds: Tensor
        self.register_buffer("thresholds", torch.zeros(labels))

    def forward(self, logits: Tensor) -> Tensor:
        return torch.cat([logits, self.thresholds.to(logits.dtype).expand_as(logits)], 1)


MARKS = ("|", ";", ",", "/", " ")
"""What people put between labels, the surest first."""


def _require_separator(config: Config, cells: Cells) -> None:
    """Raises DataError where it was not told what stands between labels, with the marks that the cells do hold."""
    if config.separator or _are_lists(cells, told=True):
        return
    held = {mark: sum(mark in str(cell or "").strip() for (cell, *_) in cells) for mark in MARKS}
    found = [f"{mark!r} in {count:,} of {len(cells):,}" for mark, count in held.items() if count]
    mark = next((mark for mark, count in held.items() if count), "|")
    raise DataError(
        f"what stands between the labels of a cell is not known; cells hold {', '.join(found) or 'none of the usual marks'}",
        f"Give --label-separator '{mark}'.",
    )


def _labels(cell: str | None, separator: str) -> list[str]:
    """The labels of a cell, each once: of a list its items, else what stands between the marks."""
    if cell is None:
        return []
    found = listed(cell)
    if found is None:
        found = cell.split(separator) if separator else [cell]
    return list(dict.fromkeys(label for label in map(tidy, found) if label))


def _are_lists(cells: Cells, told: bool = False) -> bool:
    """Whether nearly all cells are lists of names; of numbers only where labels are told to be the task."""
    found = [listed(cell) for (cell,) in cells if cell is not None]
    lists = [names for names in found if names is not None]
    if not lists or len(lists) < 0.9 * len(found) or not any(lists):
        return False
    return told or not all(is_number(name) for names in lists for name in names)


def _best_threshold(logits: Array, right: Array, counting: Array) -> float:
    """The threshold between two neighbouring logits, at most 4 and at least -6, with the best F1, each counting as told."""
    order = np.argsort(-logits, kind="stable")
    ranked, hits = logits[order], np.cumsum((right * counting)[order])
    f1 = 2 * hits / np.maximum(np.cumsum(counting[order]) + right @ counting, 1e-12)
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0  # equal logits cannot be told apart
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best] - 1.0
    return float(np.clip((ranked[best] + below) / 2, -6.0, 4.0))
