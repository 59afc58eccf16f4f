"""What metrics and methods are called, what they mean in a sentence, and where they end. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmcli.reporting.metrics import Interval, shown


@dataclass(frozen=True)
class Meaning:
    """A metric in plain words."""

    name: str
    said: str
    low: float | None = None
    """The least that it can be."""
    high: float | None = None
    """The most that it can be."""


_METRICS = {
    "accuracy": Meaning("accuracy", "share of rows that are told their right class", 0, 1),
    "balanced_accuracy": Meaning("balanced accuracy", "share found of each class, averaged: rare classes count as much", 0, 1),
    "macro_f1": Meaning(
        "macro F1", "F1 (of precision and recall) of each class or label that occurs or is predicted, averaged", 0, 1
    ),
    "micro_f1": Meaning("micro F1", "F1 (between precision and recall) over all labels of all rows together", 0, 1),
    "samples_f1": Meaning("samples F1", "F1 (between precision and recall) within each row, averaged", 0, 1),
    "weighted_f1": Meaning("weighted F1", "F1 of each class, averaged by how often the class occurs", 0, 1),
    "f1": Meaning(
        "F1", "between precision (share of the found that is right) and recall (share that is found), second class", 0, 1
    ),
    "log_loss": Meaning("log loss", "what wrong or unsure probabilities cost; sure and wrong costs most, 0 is perfect", 0),
    "auroc": Meaning(
        "AUROC", "how often a row of a class gets more of its probability than one of another; 0.5 is chance", 0, 1
    ),
    "auprc": Meaning("AUPRC", "precision averaged over all thresholds, second class; chance is its share of the rows", 0, 1),
    "map": Meaning("MAP", "precision averaged over all thresholds, then over the labels", 0, 1),
    "ece": Meaning("ECE", "how far stated probabilities lie from how often they come true, on average", 0, 1),
    "brier": Meaning("Brier score", "mean squared error of the second class's probability", 0, 1),
    "mcc": Meaning("MCC", "correlation of right and predicted classes: 1 is perfect, 0 is chance", -1, 1),
    "top_3": Meaning("top 3", "share of rows whose right class is among the three most probable", 0, 1),
    "mae": Meaning("MAE", "how far off a prediction is on average, in the target's units", 0),
    "rmse": Meaning("RMSE", "how far off, with large errors counting more, in the target's units", 0),
    "r2": Meaning("R²", "share of the target's variance explained: 1 is perfect, 0 is no better than the mean", None, 1),
    "pinball": Meaning("pinball loss", "what quantiles cost that lie too high or too low, in the target's units", 0),
    "coverage": Meaning("coverage", "share of rows between the outermost quantiles: best as often as they say", 0, 1),
    "width": Meaning("width", "how far the outermost quantiles lie apart on average, in the target's units", 0),
    "rank_mae": Meaning("MAE in ranks", "how many ranks an answer is off on average", 0),
    "qwk": Meaning("QWK", "agreement of ranks (quadratic weighted kappa): 1 is perfect, 0 is chance", None, 1),
    "within_one": Meaning("within one", "share of rows whose answer is right or next to it", 0, 1),
    "spearman": Meaning("Spearman", "whether larger predictions go with larger values, by rank: 1 is the same order", -1, 1),
    "mape": Meaning("MAPE", "how far off as a share of the right value, on average", 0),
    "wer": Meaning("WER", "words to be put in, left out or exchanged, as a share of the right ones; 0 is perfect", 0),
    "cer": Meaning("CER", "characters to be put in, left out or exchanged, as a share of the right ones; 0 is perfect", 0),
    "wer_folded": Meaning("WER without case", "WER of texts without case and punctuation", 0),
    "cer_folded": Meaning("CER without case", "CER of texts without case and punctuation", 0),
    "bleu": Meaning("BLEU", "runs of one to four words shared with the right text, in points", 0, 100),
    "chrf": Meaning("chrF", "runs of one to six characters shared with the right text, in points", 0, 100),
    "rank1": Meaning(
        "rank 1", "share of rows whose own identity is the first to be found; rows without a match are left out", 0, 1
    ),
    "rank5": Meaning("rank 5", "share of rows whose own identity is among the first five to be found", 0, 1),
    "eer": Meaning("EER", "of pairs of rows: where as many of one are refused as of two are accepted (equal error rate)", 0, 1),
    "tar_at_far_0.1": Meaning("TAR at FAR .1", "pairs of one accepted where a tenth of the pairs of two are", 0, 1),
    "tar_at_far_0.01": Meaning("TAR at FAR .01", "pairs of one accepted where a hundredth of the pairs of two are", 0, 1),
    "tar_at_far_0.001": Meaning("TAR at FAR .001", "pairs of one accepted where a thousandth of the pairs of two are", 0, 1),
    "mrr": Meaning("MRR", "mean over the directions of one over the rank at which a row's own is found", 0, 1),
    "ndcg": Meaning("nDCG", "1 / log2(1 + rank), its mean: later ranks cost less than in MRR", 0, 1),
    **{
        f"recall_at_{most}": Meaning(
            f"R@{most}", f"share of rows whose own is among the first {most}, mean over directions", 0, 1
        )
        for most in (1, 5, 10)
    },
    "exact": Meaning("exact", "share of rows whose text is right to the letter", 0, 1),
    "loss": Meaning("loss", "what training minimises", 0),
}
EMAP = "EMAP asks what is left when each input may only add its own evidence: the difference is what inputs say together."
MCNEMAR = "It says how often rows on which just one of two models is right would split so unevenly by chance."
SHAPLEY = "A Shapley value: how much better an input makes the score, averaged over the orders in which inputs could come."
INTERVAL = "A 95% interval: where the score would lie in 95 of 100 draws of as many rows (bootstrap)."


def meaning(metric: str) -> Meaning:
    """What a metric is called and means; one of the user's own is called by its name."""
    if metric.startswith("mae_"):
        return Meaning(f"MAE of {metric.removeprefix('mae_')}", "how far off on average, in that target's units", 0)
    return _METRICS.get(metric) or Meaning(metric.replace("_", " "), "")


def signed(value: float) -> str:
    """A difference with its sign, none where nothing of it is left to show."""
    said = shown(value)
    return f"+{said}" if value > 0 and said.strip("0.") else said


def difference(gain: Interval | Mapping[str, Any]) -> str:
    """A paired difference with its interval; an exact tie is called level."""
    own = gain.as_dict() if isinstance(gain, Interval) else gain
    value = "level" if own["value"] == 0 else signed(own["value"])
    return f"{value} [{signed(own['low'])}, {signed(own['high'])}]"


def worsened(
    before: Mapping[str, float], after: Mapping[str, float], higher: Mapping[str, bool], primary: str, least: float = 0.0
) -> list[str]:
    """Metrics besides the primary one that are visibly worse after, and by more than that share of what they were before:
    `log loss 0.520 instead of 0.271`."""
    found = []
    for name in (name for name in higher if name != primary and name in before and name in after):
        loss = before[name] - after[name] if higher[name] else after[name] - before[name]
        if loss > least * abs(before[name]) and shown(before[name]) != shown(after[name]):
            found.append(f"{meaning(name).name} {shown(after[name])} instead of {shown(before[name])}")
    return found


def together(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, last = list(names) or [""]
    return f"{', '.join(first)} and {last}" if first else last
