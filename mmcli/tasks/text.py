"""A text for each row: what is said, a line of print, a translation that keeps the order; written unit by unit"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmcli.artifacts import store
from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError
from mmcli.reporting import text_metrics
from mmcli.reporting.counts import agreed
from mmcli.reporting.metrics import Array, Metric
from mmcli.reporting.svg import Figure
from mmcli.signals import Column, Kind, Outputs
from mmcli.tasks import Ability, Cells, Evidence, Likeness, Task
from mmcli.text import drawing, languages, lattice, likely, linear, references, searching, writing
from mmcli.text import outputs as answers
from mmcli.text.languages import Background
from mmcli.text.lattice import Search
from mmcli.text.likely import Likely
from mmcli.text.outputs import Answers, Texts
from mmcli.text.spelled import Spelled, spelled
from mmcli.text.targets import Judge, judging, padded, unpadded
from mmcli.text.units import Units, fold, normalised, without_blanks
from mmcli.text.words import Timed
from mmcli.text.writing import Writing

LOSS, LENGTH = -2, -1
"""Columns of the readings behind the sums: minus the log-probability of the target, and its units."""


MUCH_SOUND = 36_000.0
"""Seconds of train from which on a decoder can learn what follows what."""
KEPT = {"char": 24}
"""Texts of a row that are kept, by what they are written in; else 8."""
CTC_WEIGHT = 0.3
"""Of CTC beside a decoder (Watanabe 2017)."""


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
    beam: int = Field(0, ge=0, le=256)
    """Texts of a row that are kept while they are searched for, weighed by a language model of the train texts as far as val is
    the better for it; 1: each step's likeliest unit, and no more; 0: 8, of what is written letter by letter 24. As many at most
    are there for `predict --nbest`."""
    lm_text: str = ""
    """A file of more texts for the language model, one a line (--lm-text)."""
    lm_digest: str = ""
    """What that file holds: set by preprocess."""
    lm_words: str = "auto"
    """Words of a language that answers are searched with besides (--lm-words): none, a code such as de, or auto: of sound the
    language of the train texts, where its words make them likelier."""
    spoken: bool = False
    """Whether an input is sound: set by preprocess."""


class Text(Task):
    """Outputs are log-probabilities of each unit at each step (CTC, see `heads/ctc.py`), or networks that write and what they
    look at (see `heads/decoder.py`)."""

    outputs: ClassVar[Outputs] = Texts()
    heads: ClassVar[tuple[str, ...]] = ("ctc", "decoder")
    features_may_be_swapped: ClassVar[bool] = False
    fusion_families: ClassVar[tuple[str, ...] | None] = ("feature", "token")
    new_classes_after_train: ClassVar[bool] = True
    tokens: ClassVar[Literal["bounded", "whole"]] = "whole"
    reference_baseline: ClassVar[str] = "nearest"
    constant_name: str = "medoid"
    default_fusion: ClassVar[str] = "gated-cross-attention"

    def __init__(
        self, config: Config, units: Units, tokenizer: text_metrics.Tokenizer, cased: bool, background: Background
    ) -> None:
        self.config = config
        self.units = units
        self.tokenizer = tokenizer
        self.background = background
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
            raise DataError(
                f"the target {names[0]!r} has the same text in every row of the train split",
                "Choose another --target, or give train other rows: --split.",
            )
        cased = config.normalize != "all" and any(fold(text) != text for text in texts)
        units = Units.fit(texts, config.units, config.vocab)
        more = [normalised(line, config.normalize) for line in likely.lines(Path(config.lm_text))] if config.lm_text else []
        config = config.model_copy(update={"lm_digest": store.digest(more) if more else ""})
        asked = config.lm_words if config.spoken or config.lm_words != languages.AUTO else languages.NONE
        background = Background.of(texts, more, units, asked)
        config = config.model_copy(update={"beam": config.beam or KEPT.get(units.kind, 8)})
        return cls(config, units, text_metrics.tokenizer_for(texts), cased, background)

    def head_for(self, kind: Kind, in_order: bool, seconds: float = 0.0) -> tuple[str, dict[str, Any]]:
        """Pictures that are read from left to right: `ctc`. Sound: the same under ten hours, else a decoder that is held to the
        order by CTC. All else: a decoder; of one layer where all it looks at is one token."""
        if kind in ("fields", "vector"):
            return "decoder", {"layers": 1}
        if seconds and in_order:
            return ("ctc", {}) if seconds < MUCH_SOUND else ("decoder", {"ctc_weight": CTC_WEIGHT})
        return ("ctc" if kind == "grid" and in_order else "decoder"), {}

    def admitting(self, cells: Cells) -> Self:
        """Units that only val or test have can be no answer, but are what answers are held against."""
        texts = [normalised(str(cell), self.config.normalize) for (cell,) in cells]
        return type(self)(self.config, self.units.with_more(texts), self.tokenizer, self.cased, self.background)

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
        return padded(ids, max(self.units.longest, 1))

    def texts_of(self, targets: Tensor) -> list[str]:
        """The texts of encoded targets."""
        return [self.units.text(ids) for ids in unpadded(targets)]

    def loss(self, outputs: Answers, targets: Tensor) -> Tensor:
        """Mean over the rows of the loss a unit."""
        found = writing.forced(outputs, targets) if isinstance(outputs, Writing) else lattice.losses(outputs, targets)
        return (found / (targets >= 0).sum(1).clamp(min=1)).mean()

    def written(self, outputs: Answers) -> list[str]:
        """The text of each row, as the outputs' own search finds it."""
        if isinstance(outputs, Spelled):
            return list(outputs.texts)
        return [self.units.text(ids) for ids in answers.written(outputs, self.likely)]

    @cached_property
    def likely(self) -> Likely:
        """The language model of the train texts, of more that were given, and of the words of their language."""
        return self.background.likely(self.units)

    def tuned(self, outputs: Column, targets: Tensor, width: int | None = None) -> Search:
        """The search that val lattices are the best with by the primary metric, of that width or the task's own; and how sure
        one may be of what it finds."""
        right = unpadded(targets)
        return searching.tuned(outputs, right, self.likely, width or self.config.beam, *self._judged(right))

    def length_exponent(self, outputs: Writing, targets: Tensor) -> float:
        """By which power of its length a log-probability is best divided: by the primary metric of at most 500 rows."""
        return answers.length_exponent(outputs, targets, self._judged)

    def certainty(self, outputs: Writing, targets: Tensor) -> tuple[float, float]:
        """Slope and intercept of the confidence of what is written: see `text.searching`."""
        return answers.curve(outputs, self.likely, unpadded(targets))

    def _judged(self, right: Sequence[Sequence[int]]) -> tuple[Judge, Callable[[Array], float]]:
        """What each row with a text adds to the sums of the primary metric, and what is minimised of them."""
        return judging(right, self.units, self.primary_metric, self.tokenizer)

    def measures(self) -> dict[str, Metric]:
        def loss(rows: Array, targets: Array, weights: Array) -> Array:  # noqa: ARG001 - they are in the rows
            found: Array = (weights @ rows[:, LOSS]) / np.maximum(weights @ rows[:, LENGTH], 1e-12)
            return found

        return {"loss": loss, **{name: metric for name, (metric, _) in text_metrics.TEXT.items()}}

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        """The error rates of texts without case and punctuation, where these make a difference."""
        own = text_metrics.COLUMNS
        of = {"wer_folded": text_metrics.wer, "cer_folded": text_metrics.cer} if self.cased else {}
        return {
            name: (lambda rows, right, weights, metric=metric: metric(rows[:, own:], right, weights), False)  # type: ignore[misc]
            for name, metric in of.items()
        }

    def row_losses(self, outputs: Answers, targets: Tensor) -> tuple[Array, Array]:
        """[N] each: minus the log-probability of each row's target, without a search; and its units."""
        lengths = (targets >= 0).sum(1).cpu().numpy().astype(np.float64)
        return answers.losses(outputs, targets).double().cpu().numpy(), lengths

    @property
    def attributed_by(self) -> str:
        """The loss a unit: nothing has to be written for it."""
        return "loss"

    def attributed(self, outputs: Answers, targets: Tensor) -> tuple[Array, Array]:
        """The loss and the units of each row, [N, 2]; a text that there are too few steps for costs what units drawn blindly
        would, log V each."""
        losses, units = self.row_losses(outputs, targets)
        possible = answers.fitting(outputs, targets)
        return np.column_stack([np.where(possible, losses, units * np.log(self.width)), units]), np.zeros(len(targets))

    def scores_of(self, outputs: Answers, cells: Sequence[str]) -> Array:
        """[N]: the log-probability of another text for each row, over all ways to write it; minus infinity where it has units
        that are not known, or more than there are steps for."""
        texts = [normalised(cell, self.config.normalize) for cell in cells]
        ids = [self.units.known_ids(text) for text in texts]
        targets = padded(ids)
        known = np.array([self.units.text(own) == text for own, text in zip(ids, texts, strict=True)], dtype=bool)
        possible = known & answers.fitting(outputs, targets)
        return np.where(possible, -self.row_losses(outputs, targets)[0], -np.inf)

    def readings(self, outputs: Answers, targets: Tensor) -> tuple[Array, Array]:
        """Sums of each row: see `reporting.text_metrics`; without case and punctuation; the loss and the units. Rows that are
        only glimpsed over have no sums, and count as much as the others among exact ones."""
        written, right = self.written(outputs), self.texts_of(targets)
        blocks = [text_metrics.sums(written, right, self.tokenizer)]
        if self.cased:
            blocks.append(text_metrics.sums([fold(text) for text in written], [fold(text) for text in right], self.tokenizer))
        seen = answers.seen(outputs)
        for block in blocks if seen.any() and not seen.all() else ():
            block[~seen] = 0
            block[~seen, text_metrics.EXACT] = block[seen, text_metrics.EXACT].mean()
        return np.column_stack([*blocks, *self.row_losses(outputs, targets)]), np.zeros(len(right))

    def decode(self, outputs: Answers) -> dict[str, list[Any]]:
        """The text, and how sure it is: the share of its units that is expected to be right, see `text.searching`."""
        sure = answers.confidence(outputs, answers.written(outputs, self.likely))
        return {"": self.written(outputs), "_confidence": [round(own, 6) for own in sure.tolist()]}

    @property
    def most_answers(self) -> int:
        return int(self.config.beam)

    def alternatives(self, outputs: Answers, count: int) -> dict[str, list[Any]]:
        """Texts that the search kept besides, the better first; None where there are no more that differ."""
        found = [
            list(dict.fromkeys(map(self.units.text, row))) + [None] * count
            for row in answers.nbest(outputs, self.likely, self.config.beam)
        ]
        return {f"_nbest_{place + 1}": [row[place] for row in found] for place in range(1, count)}

    def words(self, outputs: Column) -> list[list[Timed]]:
        """Where each word of the texts is written, in steps."""
        texts = searching.written(outputs, self.likely)
        return searching.timed(outputs, texts, self.units, self.each_letter)

    @property
    def each_letter(self) -> bool:
        """Whether each letter is a word, as in scripts without blanks."""
        return self.tokenizer != "13a"

    def lacks(self, ability: Ability) -> str:
        """A student can be taught the texts that are written. What is said is read, not recalled."""
        if ability == "known texts":
            return "what is said is read step by step" if self.config.spoken else ""
        return "" if ability == "distillation" else super().lacks(ability)

    def dictated(self, outputs: Answers, targets: Tensor) -> Tensor:
        """What is written, in place of targets (int64 [N, L], padded with -1), where it is a text of at most L units."""
        found = targets.clone()
        for row, ids in enumerate(answers.written(outputs, self.likely)):
            if 0 < len(ids) <= targets.shape[1]:
                found[row] = -1
                found[row, : len(ids)] = torch.tensor(ids, dtype=found.dtype)
        return found

    def remarks(self, outputs: Answers, targets: Tensor) -> list[str]:
        texts = answers.written(outputs, self.likely)
        looping, full = answers.doubtful(outputs, texts, unpadded(targets))
        most = "end where no more is allowed, cut off" if isinstance(outputs, Writing) else "take every step, and may be cut"
        return [
            f"{len(rows)} of {len(texts)} texts {said}, the first: {self.units.text(texts[rows[0]])[-60:]!r}"
            for rows, what in ((looping, "end in one piece over and over"), (full, most))
            for said in [" ".join([agreed(len(rows), what.split()[0]), *what.split()[1:]])]
            if rows
        ]

    def summary(self) -> str:
        found = f"texts, written in {self.units.described}; judged by {self.primary_metric}"
        return f"{found}; {self.background.language.told}" if self.background.language else found

    def draw(self, outputs: Answers, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """Error rates by the length of the right text, and by confidence."""
        rows = self.readings(outputs, targets)[0]
        name, metric = ("wer", text_metrics.wer) if self.tokenizer == "13a" else ("cer", text_metrics.cer)
        sure = np.array(self.decode(outputs)["_confidence"])
        return drawing.by_confidence(rows, sure, metric, name) | drawing.by_length(rows, rows[:, LENGTH], metric, name)

    def pairs(self, outputs: Answers, targets: Tensor) -> tuple[list[tuple[list[str], list[str]]], str]:
        """Words, or characters where words have no blanks between them."""
        both = zip(self.written(outputs), self.texts_of(targets), strict=True)
        found = [(text_metrics.units(one, self.tokenizer), text_metrics.units(other, self.tokenizer)) for one, other in both]
        return found, " " if self.tokenizer == "13a" else ""

    def worst_rows(self, outputs: Answers, targets: Tensor, most: int) -> list[tuple[int, str]]:
        """By their share of wrong characters."""
        written, right = self.written(outputs), self.texts_of(targets)
        return [(row, f"wrote {written[row]!r} for {right[row]!r}") for row in text_metrics.worst(written, right, most)]

    def constant_baseline(self, targets: Tensor, rows: int) -> Spelled:
        """The medoid: the train text with the fewest character edits to the others (of at most 200 of them)."""
        return self.spelled([references.medoid(self.texts_of(targets))] * rows, targets)

    def spelled(self, texts: Sequence[str], targets: Tensor) -> Spelled:
        """Outputs that are those texts, with the steps that each of `targets` needs."""
        ids = [self.units.known_ids(text) for text in texts]
        return spelled(texts, ids, self.width, lattice.most_needed(targets))

    def more_baselines(self, inputs: Mapping[str, Evidence], targets: Tensor, train: Tensor, val: Tensor) -> dict[str, Answers]:
        """The empty text; where there are several inputs the nearest train row by each; of a text input itself, where it shares
        a script with the target, and its words looked up in a dictionary; of sound a linear reader."""
        rows, right = len(targets), self.texts_of(targets[train])
        found: dict[str, Answers] = {"empty": self.spelled([""] * rows, targets[train])}
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
        nearest = targets[references.nearest(features, train)]
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
            **self.background.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        units = Units.from_state(state["units"])
        background = Background.from_state(state)
        return cls(Config(**state["config"]), units, state["tokenizer"], state["cased"], background)


def _numeric(text: str) -> bool:
    return all(unicodedata.category(char)[0] in "NPSZ" for char in text)
