"""A text for each row: what is said, a line of print, a translation that keeps the order; written unit by unit"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError
from mmcli.reporting import charts, text_metrics
from mmcli.reporting.metrics import Array, Metric, shown
from mmcli.reporting.svg import Figure
from mmcli.signals import Outputs
from mmcli.tasks import Cells, Evidence, Likeness, Task
from mmcli.text import ctc, lattice, linear, references
from mmcli.text.lattice import Lattice, Lattices, Spelled
from mmcli.text.units import Units, fold, normalised, without_blanks

LOSS, LENGTH = -2, -1
"""Columns of the readings behind the sums: minus the log-probability of the target, and its units."""
COVERAGE = tuple(tenths / 10 for tenths in range(1, 11))
"""Shares of the rows whose error is drawn, the surest first."""


class Config(BaseConfig):
    """What texts are written in, and how they are judged."""

    units: Literal["auto", "char", "word", "bpe"] = "auto"
    """What a text is written in (--target-units): characters; words, where few come often; or pieces (BPE)."""
    vocab: int = Field(0, ge=0)
    """Most pieces of BPE (--target-vocab); 0: as many as the train texts can teach."""
    normalize: Literal["nfkc", "case", "all"] = "nfkc"
    """What of a text counts (--normalize): nfkc: one form of each letter and single blanks; case: not its case besides; all:
    nor its punctuation."""
    metric: Literal["auto", "wer", "cer", "bleu", "chrf", "exact"] = "auto"
    """What models are chosen by (--metric). auto: of sound the word error rate, or that of characters where words have no
    blanks between them; else chrF."""
    spoken: bool = False
    """Whether an input is sound: set by preprocess."""


class Text(Task):
    """Outputs are log-probabilities of each unit at each step (CTC): see `heads/ctc.py`."""

    outputs: ClassVar[Outputs] = Lattices()
    heads: ClassVar[tuple[str, ...]] = ("ctc",)
    features_may_be_swapped: ClassVar[bool] = False
    fusion_families: ClassVar[tuple[str, ...] | None] = ("token",)
    new_classes_after_train: ClassVar[bool] = True
    tokens: ClassVar[Literal["bounded", "whole"]] = "whole"
    reference_baseline: ClassVar[str] = "nearest"
    constant_name: ClassVar[str] = "medoid"
    default_fusion: ClassVar[str] = "gated-cross-attention"

    def __init__(self, config: Config, units: Units, tokenizer: text_metrics.Tokenizer, cased: bool) -> None:
        self.config = config
        self.units = units
        self.tokenizer = tokenizer
        self.cased = cased
        """Whether case or punctuation makes a difference in the train texts."""

    @classmethod
    def sniff(cls, config: Config, cells: Cells) -> Likeness:  # noqa: ARG003 - whatever the options
        """Sentences that hardly come twice."""
        if len(cells[0]) > 1:
            return Likeness(0.0, "several target columns")
        texts = [str(cell) for (cell,) in cells]
        distinct = len(set(texts)) / len(texts)
        words = sum(len(text.split()) for text in texts) / len(texts)
        blankless = without_blanks(texts)
        if distinct < 0.5 or len(texts) < 20 or (words < 1.5 and not blankless) or all(_numeric(text) for text in texts[:200]):
            return Likeness(0.0, "repeated values or single words")
        kind = "characters" if blankless else "words"
        mean = sum(map(len, texts)) / len(texts) if blankless else words
        return Likeness(0.6, f"texts: {len(set(texts))} different ones in {len(texts)} rows, {mean:.1f} {kind} each")

    @classmethod
    def suited(cls, config: Config, modalities: Sequence[str]) -> Config:
        return config.model_copy(update={"spoken": "audio" in modalities})

    @classmethod
    def strata(cls, config: Config, cells: Cells) -> list[str]:  # noqa: ARG003 - texts have no kinds
        return [""] * len(cells)

    @classmethod
    def fit(cls, config: Config, cells: Cells, names: Sequence[str]) -> Self:
        if len(names) > 1:
            raise DataError(f"a text is predicted of one column, not of {', '.join(names)}", "Give one --target.")
        texts = [normalised(str(cell), config.normalize) for (cell,) in cells]
        if len(set(texts)) < 2:
            raise DataError("the train split has the same text in every row", "Check --target and --split.")
        cased = config.normalize != "all" and any(fold(text) != text for text in texts)
        return cls(config, Units.fit(texts, config.units, config.vocab), text_metrics.tokenizer_for(texts), cased)

    def admitting(self, cells: Cells) -> Self:
        """Units that only val or test have can be no answer, but are what answers are held against."""
        texts = [normalised(str(cell), self.config.normalize) for (cell,) in cells]
        return type(self)(self.config, self.units.with_more(texts), self.tokenizer, self.cased)

    @property
    def metrics(self) -> dict[str, bool]:
        return {name: higher for name, (_, higher) in text_metrics.TEXT.items()}

    @property
    def primary_metric(self) -> str:
        if self.config.metric != "auto":
            return str(self.config.metric)
        if not self.config.spoken:
            return "chrf"
        return "wer" if self.tokenizer == "13a" else "cer"

    def encode(self, cells: Cells) -> Tensor:
        """int64 [N, L], padded with -1: see `units`. A text is got back by `texts_of`."""
        ids = [self.units.ids(normalised(str(cell), self.config.normalize)) for (cell,) in cells]
        longest = max(max(map(len, ids), default=1), self.units.longest, 1)
        found = torch.full((len(ids), longest), -1, dtype=torch.int64)
        for row, own in enumerate(ids):
            found[row, : len(own)] = torch.tensor(own, dtype=torch.int64)
        return found

    def texts_of(self, targets: Tensor) -> list[str]:
        """The texts of encoded targets."""
        return [self.units.text([unit for unit in row if unit >= 0]) for row in targets.tolist()]

    def loss(self, outputs: Lattice, targets: Tensor) -> Tensor:
        """Mean over the rows of the loss a unit."""
        return (lattice.losses(outputs, targets) / (targets >= 0).sum(1).clamp(min=1)).mean()

    def written(self, outputs: Lattice) -> list[str]:
        """The likeliest text of each row, greedily."""
        if isinstance(outputs, Spelled):
            return list(outputs.texts)
        texts = []
        for index in torch.arange(len(outputs)).split(256):
            values, lengths = lattice.padded(outputs.select(index))
            texts += [self.units.text(ids) for ids in ctc.greedy(values, lengths)]
        return texts

    def measures(self) -> dict[str, Metric]:
        def loss(rows: Array, targets: Array, weights: Array) -> Array:  # noqa: ARG001 - they are in the rows
            found: Array = (weights @ rows[:, LOSS]) / np.maximum(weights @ rows[:, LENGTH], 1e-12)
            return found

        return {"loss": loss, **{name: metric for name, (metric, _) in text_metrics.TEXT.items()}}

    @property
    def _folded(self) -> dict[str, Metric]:
        """The error rates of texts without case and punctuation, where these make a difference."""
        start = text_metrics.COLUMNS
        of = {"wer_folded": text_metrics.wer, "cer_folded": text_metrics.cer} if self.cased else {}
        return {
            name: lambda rows, targets, weights, metric=metric: metric(rows[:, start:], targets, weights)  # type: ignore[misc]
            for name, metric in of.items()
        }

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        return {name: (metric, False) for name, metric in self._folded.items()}

    @property
    def attributed_by(self) -> str:
        """The loss a unit: nothing has to be written for it."""
        return "loss"

    def attributed(self, outputs: Lattice, targets: Tensor) -> tuple[Array, Array]:
        """The loss and the units of each row, [N, 2]; a text that there are too few steps for costs what units drawn blindly
        would, log V each."""
        losses, units = self.row_losses(outputs, targets)
        possible = lattice.fitting(outputs, targets).numpy()
        return np.column_stack([np.where(possible, losses, units * np.log(self.width)), units]), np.zeros(len(targets))

    def row_losses(self, outputs: Lattice, targets: Tensor) -> tuple[Array, Array]:
        """[N] minus the log-probability of each target, and [N] its units."""
        parts = torch.arange(len(targets)).split(256)
        found = [lattice.losses(outputs.select(index), targets[index]).double().cpu().numpy() for index in parts]
        return np.concatenate(found or [np.zeros(0)]), (targets >= 0).sum(1).cpu().numpy().astype(np.float64)

    def scores_of(self, outputs: Lattice, cells: Sequence[str]) -> Array:
        """[N]: the log-probability of another text for each row, over all ways to write it; minus infinity where it has units
        that are not known, or more than there are steps for."""
        texts = [normalised(cell, self.config.normalize) for cell in cells]
        ids = [self.units.known_ids(text) for text in texts]
        targets = torch.full((len(ids), max(map(len, ids), default=0) or 1), -1, dtype=torch.int64)
        for row, own in enumerate(ids):
            targets[row, : len(own)] = torch.tensor(own, dtype=torch.int64)
        known = np.array([self.units.text(own) == text for own, text in zip(ids, texts, strict=True)], dtype=bool)
        possible = known & lattice.fitting(outputs, targets).numpy()
        return np.where(possible, -self.row_losses(outputs, targets)[0], -np.inf)

    def readings(self, outputs: Lattice, targets: Tensor) -> tuple[Array, Array]:
        """Sums of each row: see `reporting.text_metrics`; without case and punctuation; the loss and the units."""
        written, right = self.written(outputs), self.texts_of(targets)
        blocks = [text_metrics.sums(written, right, self.tokenizer)]
        if self.cased:
            blocks.append(text_metrics.sums([fold(text) for text in written], [fold(text) for text in right], self.tokenizer))
        return np.column_stack([*blocks, *self.row_losses(outputs, targets)]), np.zeros(len(right))

    def decode(self, outputs: Lattice) -> dict[str, list[Any]]:
        """The text, and how sure it is: the mean probability of its steps, their product's root by their number."""
        written = self.written(outputs)
        sure = []
        for index in torch.arange(len(outputs)).split(256):
            values, lengths = lattice.padded(outputs.select(index))
            best = values.amax(2)
            real = torch.arange(best.shape[1])[None] < lengths[:, None]
            sure += (best.masked_fill(~real, 0.0).sum(1) / lengths.clamp(min=1)).exp().tolist()
        return {"": written, "_confidence": [round(own, 6) for own in sure]}

    def summary(self) -> str:
        return f"texts, written in {self.units.described}; judged by {self.primary_metric}"

    def draw(self, outputs: Lattice, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """Error rates by the length of the right text."""
        rows = self.readings(outputs, targets)[0]
        name, metric = ("wer", text_metrics.wer) if self.tokenizer == "13a" else ("cer", text_metrics.cer)
        lengths = rows[:, LENGTH]
        found = self._by_confidence(outputs, rows, metric, name)
        edges = sorted(set(np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1]).round().astype(int).tolist()))
        points = []
        for low, high in pairwise([*edges, edges[-1] + 1]):
            inside = (lengths >= low) & (lengths < high)
            if inside.any():
                points.append(
                    (float(lengths[inside].mean()), float(metric(rows[inside], rows, np.ones((1, int(inside.sum()))))[0]))
                )
        if len(points) < 2:
            return found
        drawn = charts.curves({name.upper(): points}, "units of the right text", name)
        return found | {
            "by_length": (
                drawn,
                "Errors by the length of the right text: each dot is a part of the rows, the shorter texts first.",
            )
        }

    def _by_confidence(self, outputs: Lattice, rows: Array, metric: Metric, name: str) -> dict[str, tuple[Figure, str]]:
        """The error of the surest rows, against how many are kept."""
        order = np.argsort(-np.array(self.decode(outputs)["_confidence"]), kind="stable")
        counts = sorted({max(round(share * len(order)), 1) for share in COVERAGE})
        if len(order) < len(COVERAGE):
            return {}
        errors = [float(metric(rows[order[:kept]], rows, np.ones((1, kept)))[0]) for kept in counts]
        points = [(kept / len(order), error) for kept, error in zip(counts, errors, strict=True)]
        drawn = charts.curves({name.upper(): points}, "share of the rows kept, the surest first", name)
        return {
            "coverage": (
                drawn,
                f"Errors of the rows that are left where the least sure are set aside: {shown(errors[0])} of the surest tenth, "
                f"{shown(errors[(len(errors) - 1) // 2])} of half, {shown(errors[-1])} of all.",
            )
        }

    def pairs(self, outputs: Lattice, targets: Tensor) -> tuple[list[tuple[list[str], list[str]]], str]:
        """Words, or characters where words have no blanks between them."""
        both = zip(self.written(outputs), self.texts_of(targets), strict=True)
        found = [(text_metrics.units(one, self.tokenizer), text_metrics.units(other, self.tokenizer)) for one, other in both]
        return found, " " if self.tokenizer == "13a" else ""

    def worst_rows(self, outputs: Lattice, targets: Tensor, most: int) -> list[tuple[int, str]]:
        """By their share of wrong characters."""
        written, right = self.written(outputs), self.texts_of(targets)
        wrong = [text_metrics.edits(one, other) / max(len(other), 1) for one, other in zip(written, right, strict=True)]
        order = sorted(range(len(wrong)), key=lambda row: -wrong[row])[:most]
        return [(row, f"wrote {written[row]!r} for {right[row]!r}") for row in order if wrong[row] > 0]

    def constant_baseline(self, targets: Tensor, rows: int) -> Spelled:
        """The medoid: the train text with the fewest character edits to the others (of at most 200 of them)."""
        texts = self.texts_of(targets)
        some = [text for text, _ in Counter(texts).most_common(200)]
        others = texts[:: max(len(texts) // 100, 1)]
        best = min(some, key=lambda text: sum(text_metrics.edits(text, other) for other in others))
        return self.spelled([best] * rows, targets)

    def spelled(self, texts: Sequence[str], targets: Tensor) -> Spelled:
        """Outputs that are those texts, with the steps that each of `targets` needs."""
        ids = [self.units.known_ids(text) for text in texts]
        return lattice.spelled(texts, ids, self.width, lattice.most_needed(targets))

    def more_baselines(self, inputs: Mapping[str, Evidence], targets: Tensor, train: Tensor, val: Tensor) -> dict[str, Lattice]:
        """The empty text; where there are several inputs the nearest train row by each; of a text input itself, where it shares
        a script with the target, and its words looked up in a dictionary; of sound a linear reader."""
        rows, right = len(targets), self.texts_of(targets[train])
        found: dict[str, Lattice] = {"empty": self.spelled([""] * rows, targets[train])}
        for name, own in inputs.items():
            if len(inputs) > 1:
                found[f"nearest:{name}"] = self.nearest_baseline(own.features, targets, train)
            if own.texts is not None:
                cells = [normalised(cell or "", self.config.normalize) for cell in own.texts]
                taught = [cells[row] for row in train.tolist()]
                if references.share_a_script(taught, right):
                    found[f"copy:{name}"] = self.spelled(cells, targets[train])
                looked_up = references.looked_up(cells, taught, right, self.tokenizer)
                found[f"dictionary:{name}"] = self.spelled(looked_up, targets[train])
            if own.frames is not None:
                found[f"linear-ctc:{name}"] = linear.lattices(own.frames, targets, train, val, self.width)
        return found

    def nearest_baseline(self, features: Any, targets: Tensor, train: Tensor) -> Spelled:
        """For all rows the text of the train row whose features are most alike (cosine); a train row is not its own."""
        from sklearn.preprocessing import normalize

        index = train.numpy()
        unit = normalize(features)
        like = unit @ unit[index].T
        like = like.toarray() if hasattr(like, "toarray") else np.asarray(like)
        like[index, np.arange(len(index))] = -np.inf
        nearest = targets[train[torch.from_numpy(like.argmax(1))]]
        return self.spelled(self.texts_of(nearest), targets[train])

    @cached_property
    def width(self) -> int:
        """Units and the blank."""
        return len(self.units) + 1

    def state(self) -> dict[str, Any]:
        return {
            "config": self.config.model_dump(),
            "units": self.units.state(),
            "tokenizer": self.tokenizer,
            "cased": self.cased,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), Units.from_state(state["units"]), state["tokenizer"], state["cased"])


def _numeric(text: str) -> bool:
    return all(unicodedata.category(char)[0] in "NPSZ" for char in text)
