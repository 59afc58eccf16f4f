"""What the user says of the target: the column, what is asked of it, and how answers are judged."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mmcli import registry
from mmcli.errors import ConfigError
from mmcli.options.flags import Flag, one_of
from mmcli.tables.names import tidy

COLUMNS = "Columns"
"""The heading in help."""
CALLED_ELSEWHERE = {
    **dict.fromkeys(("binary", "multiclass", "category", "classes", "classifier"), "classification"),
    **dict.fromkeys(("number", "numeric", "continuous", "regressor"), "regression"),
    **dict.fromkeys(("asr", "speech", "ocr", "translation", "caption", "captioning", "seq2seq", "transcription"), "text"),
    **dict.fromkeys(("pairs", "matching", "verification", "verify", "same", "siamese", "similarity"), "match"),
    **dict.fromkeys(("identification", "recognition", "metric-learning", "face", "faces", "speaker"), "identify"),
    **dict.fromkeys(("clip", "retrieval", "contrast", "align", "alignment", "siglip", "self-supervised"), "contrastive"),
    **dict.fromkeys(("ordered", "ordinal-regression", "grades", "ratings", "rank", "ranks", "coral", "corn"), "ordinal"),
    **dict.fromkeys(("multi-label", "multi_label", "tags", "labels", "set"), "multilabel"),
}
"""What other tools call tasks."""
CLASS_WEIGHTS = ("balanced", "none")
SCALES = {"auto": "auto", "none": "linear", "log": "log"}
"""What --target-transform says -> the scale on which a number is learnt."""
UNITS, NORMALIZE = ("char", "word", "bpe"), ("nfkc", "case", "all")
METRICS = ("wer", "cer", "bleu", "chrf", "exact")
TASK_FLAGS = {
    "separator": "--label-separator",
    "units": "--target-units",
    "vocab": "--target-vocab",
    "normalize": "--normalize",
    "metric": "--metric",
    "far": "--far",
    "lm_text": "--lm-text",
    "lm_words": "--lm-words",
    "class_weights": "--class-weight",
    "scale": "--target-transform",
    "quantiles": "--quantiles",
    "order": "--order",
}
"""Option of a task -> the flag that says it."""


def _task(text: str) -> str:
    if registry.in_file(text):
        registry.trust(text)
        return text
    return one_of("--task", "task", text, registry.parts("tasks"), CALLED_ELSEWHERE)


def _units(text: str) -> str:
    return one_of("--target-units", "unit", text, UNITS, {"character": "char", "characters": "char", "words": "word"})


def _normalize(text: str) -> str:
    return one_of("--normalize", "way", text, NORMALIZE, {"none": "nfkc", "lower": "case", "lowercase": "case"})


def _metric(text: str) -> str:
    return one_of("--metric", "metric", text.lower(), METRICS, {"chrf2": "chrf", "accuracy": "exact", "edit_distance": "cer"})


def _class_weight(text: str) -> str:
    return one_of("--class-weight", "way", text, CLASS_WEIGHTS, {"auto": "balanced", "equal": "balanced", "off": "none"})


def _scale(text: str) -> str:
    return SCALES[one_of("--target-transform", "way", text, tuple(SCALES), {"log1p": "log", "linear": "none", "off": "none"})]


def _quantiles(text: str) -> tuple[float, ...]:
    try:
        levels = tuple(float(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or any(not 1e-6 <= level <= 1 - 1e-6 for level in levels):
        raise ConfigError(f"--quantiles {text}: expected numbers between 0 and 1", "E.g. --quantiles .05,.5,.95")
    twice = [level for level in levels if levels.count(level) > 1]
    if twice:
        raise ConfigError(f"--quantiles {text}: {twice[0]:g} stands twice", "Name each once.")
    return tuple(sorted(levels))


def _order(text: str) -> tuple[str, ...]:
    names = tuple(map(tidy, next(csv.reader([text], skipinitialspace=True), [])))
    if len(names) < 3 or "" in names:
        said = "an order is of three names or more, none empty"
        raise ConfigError(f"--order {text!r}: {said}", "From the lowest to the highest: --order 'poor,fair,good'.")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"--order {text!r}: {twice[0]!r} stands twice", "Name each class once.")
    return names


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be predicted; empty means: find out."""

    target: Annotated[
        tuple[str, ...],
        Flag(
            "--target",
            "The column to predict; several numbers: repeat. Default: label, target, class or y, else the last.",
            short="-t",
            metavar="COL",
            panel=COLUMNS,
            complete="columns",
        ),
    ] = ()
    task: Annotated[
        str | None,
        Flag(
            "--task",
            "classification, ordinal, regression, multilabel, match, identify, contrastive, text; or FILE.py. Default: by the "
            "target.",
            metavar="NAME",
            complete="tasks",
            panel=COLUMNS,
            parse=_task,
        ),
    ] = None
    label_separator: Annotated[
        str | None,
        Flag("--label-separator", "The mark between the labels of a cell: multilabel.", metavar="MARK", panel=COLUMNS),
    ] = None
    target_units: Annotated[
        str | None,
        Flag(
            "--target-units",
            "What a target that is a text is written in: char, word or bpe. Default: what its texts allow.",
            metavar="UNITS",
            panel=COLUMNS,
            parse=_units,
            complete=UNITS,
        ),
    ] = None
    target_vocab: Annotated[
        int | None,
        Flag("--target-vocab", "Most pieces of BPE: text.", metavar="N", min=256, panel=COLUMNS),
    ] = None
    normalize: Annotated[
        str | None,
        Flag(
            "--normalize",
            "What of a text counts: nfkc (all but forms of letters and blanks), case (not case), all (nor punctuation): text.",
            metavar="HOW",
            panel=COLUMNS,
            parse=_normalize,
            complete=NORMALIZE,
        ),
    ] = None
    metric: Annotated[
        str | None,
        Flag(
            "--metric",
            "What texts are judged by: wer, cer, bleu, chrf or exact. Default: wer or cer where an input is sound, else chrf.",
            metavar="NAME",
            panel=COLUMNS,
            parse=_metric,
            complete=METRICS,
        ),
    ] = None
    far: Annotated[
        float | None,
        Flag(
            "--far",
            "The most of the pairs that do not belong together that may be accepted, in val: match. Default: best accuracy.",
            metavar="RATE",
            min=0,
            max=1,
            panel=COLUMNS,
        ),
    ] = None
    lm_text: Annotated[
        Path | None,
        Flag(
            "--lm-text",
            "More texts like the target's, one a line, for the language model that its answers are searched with: text.",
            metavar="FILE",
            panel=COLUMNS,
        ),
    ] = None
    lm_words: Annotated[
        str | None,
        Flag(
            "--lm-words",
            "Words of a language for the search of answers that are read step by step (CTC): none, a code such as de, or auto: "
            "of sound those of the train texts' language, where they make these likelier. Default: auto. text.",
            metavar="CODE",
            panel=COLUMNS,
        ),
    ] = None
    class_weight: Annotated[
        str | None,
        Flag(
            "--class-weight",
            "balanced: each class counts alike in the loss, however rare, and balanced accuracy chooses; of labels each by "
            "itself, and macro F1. Default: none.",
            metavar="HOW",
            panel=COLUMNS,
            parse=_class_weight,
            complete=CLASS_WEIGHTS,
        ),
    ] = None
    target_transform: Annotated[
        str | None,
        Flag(
            "--target-transform",
            "On which scale a number is learnt: none, log (log(1 + y)), or auto: log where it is skewed and train shows a "
            "gain. Predictions and scores are in the table's units. Default: auto.",
            metavar="HOW",
            panel=COLUMNS,
            parse=_scale,
            complete=tuple(SCALES),
        ),
    ] = None

    quantiles: Annotated[
        Sequence[float],
        Flag(
            "--quantiles",
            "Quantiles of a number to answer with, beside it: .05,.5,.95. The prediction is the .5 one: regression.",
            metavar="LEVELS",
            panel=COLUMNS,
            parse=_quantiles,
        ),
    ] = ()
    order: Annotated[
        Sequence[str],
        Flag(
            "--order",
            "The classes from the lowest to the highest, where they are no numbers: 'poor,fair,good': ordinal.",
            metavar="NAMES",
            panel=COLUMNS,
            parse=_order,
        ),
    ] = ()

    @property
    def task_options(self) -> dict[str, dict[str, Any]]:
        """What flags say of a task, by task."""
        text = {"units": self.target_units, "vocab": self.target_vocab, "normalize": self.normalize, "metric": self.metric}
        text |= {"lm_text": str(self.lm_text) if self.lm_text else None, "lm_words": self.lm_words}
        said: dict[str, dict[str, Any]] = {
            "classification": {"class_weights": self.class_weight},
            "multilabel": {"separator": self.label_separator, "class_weights": self.class_weight},
            "text": text,
            "match": {"far": self.far},
            "regression": {"scale": self.target_transform, "quantiles": self.quantiles},
            "ordinal": {"order": self.order},
        }
        given = {task: {key: value for key, value in own.items() if value} for task, own in said.items()}
        return {task: own for task, own in given.items() if own}
