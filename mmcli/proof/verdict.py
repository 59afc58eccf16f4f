"""The one paragraph in plain words with which an evaluation begins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmcli.proof.report import Entry
from mmcli.reporting.counts import counted
from mmcli.reporting.metrics import Interval, shown
from mmcli.reporting.words import meaning, signed, together


@dataclass(frozen=True)
class Rival:
    """The best baseline that reads one input alone, where it is better than the model of that or any other input."""

    entry: Entry
    input: str
    gain: Interval
    """How much better the judged model is."""

    def said(self, metric: str) -> str:
        """What the input alone is worth by it; empty where the model is better beyond noise."""
        if self.gain.low > 0:
            return ""
        more = self.gain.high < 0
        what = "is better than the model" if more else "is no worse than the model beyond noise"
        much, score = "more" if more else "as much", f"{meaning(metric).name} {self.entry.scores[metric]}"
        return (
            f"{self.input} alone gives {much}: the baseline {self.entry.name} reads nothing else, has {score}, and {what} "
            f"(difference {_difference(self.gain)}). Fusing is not shown to help."
        )


def verdict(
    top: Entry,
    single: Entry,
    reference: Entry,
    fused: Entry | None,
    gains: Mapping[str, Interval],
    metric: str,
    worse: Mapping[str, Sequence[str]] | None = None,
    *,
    alone: bool = False,
    unbeaten: Entry | None = None,
    rival: Rival | None = None,
) -> str:
    """Whether fusing helps on the test rows, beyond noise or not, and whether optimizing kept what fusing had gained.

    `top` is the model that is judged, `fused` what it was before it was optimized (None where it was not), `gains` how much
    `top` is better than the `best_column`, the `reference` (a baseline) by its name, and `fused`, in pairs, `worse` what by
    other metrics is worse than of these beyond noise, `alone` whether there is one input only, `unbeaten` the constant baseline
    where nothing beats it: neither the model nor an input alone is recommended then; `rival` what one input gives without them.
    """
    name = meaning(metric).name
    said = none_better(unbeaten, gains[unbeaten.name], metric) if unbeaten is not None else ""
    said += (
        f"On {counted(top.scores[metric].n, 'test row')} the {top.label} model reaches {name} {top.scores[metric]}; the best "
        f"single input, {single.name}, {single.scores[metric]}; {reference.what} {reference.scores[metric]}. "
    )
    if unbeaten is not None:
        return said.rstrip()
    gain = gains["best_column"]
    change = f"{_told(gain)} in {name}, same rows for both"
    lost = fused is not None and gains["fused"].high < 0
    if alone:
        further = f", trained on or run another way ({change})" if gain.value or gain.low or gain.high else ""
        said += f"There is but one input, so nothing to fuse: the model is that input's{further}."
    elif by_rival := rival.said(metric) if rival is not None else "":
        said += f"{by_rival} Over the model of {single.name} it is {_told(gain)}."
    elif gain.low > 0:
        said += f"Fusing helps ({change})."
    elif gain.value > 0:
        said += f"Fusing seems to help, but within the noise of so few rows ({change})."
    elif lost:
        said += f"As it was optimized, it is no better than that input ({change})."
    elif gain.value == 0:
        level = f"difference {_difference(gain)} in {name}, same rows for both"
        said += f"Fusing is level with that input ({level}): use {single.name} alone, or give more rows."
    else:
        said += f"Fusing does not help here ({change}): use {single.name} alone, or give more rows."
    said += _plainly(reference, gains[reference.name])
    if fused is not None and gains["fused"].value < 0:
        said += f" Before it was optimized, the model reaches {fused.scores[metric]} ({_told(gains['fused'])})"
        place = fused.name if fused.kind == "folded" else f"fusions/{fused.name}"
        told = f": predict and export take it with --model, from {place} under the artifacts."
        said += told if lost else ", which is within noise."
    return said + _by_other_measures(metric, single, gains, worse or {})


def none_better(constant: Entry, gain: Interval, metric: str) -> str:
    """That whatever was tried is no better than what sees no input, and what to do; `gain` is how much better the model is."""
    return (
        f"Nothing here is better, beyond noise, than {constant.what} (the baseline {constant.name}: {meaning(metric).name} "
        f"{constant.scores[metric]}): not the model ({_told(gain)}), no input alone and no other baseline. Give more rows, or "
        "other inputs. "
    )


LEVEL = 1 / 8
"""As a share of its interval how far above zero a gain may be to be called none."""


def _plainly(reference: Entry, gain: Interval) -> str:
    """Whether something plain does as well on the same rows, or better; `gain` is how much better the model is."""
    if reference.name == "linear" and gain.low <= 0 <= round(gain.high, 6):  # what float32 leaves of a tie is one
        what = f"{reference.what[:1].upper()}{reference.what[1:]}"
        if gain.value > LEVEL * (gain.high - gain.low):
            return f" {what} is behind (difference {_difference(gain)}), but within the noise of so few rows."
        return f" {what} does as well (difference {_difference(gain)}): where simplicity counts, it is all that is needed."
    behind = -gain.value
    if reference.name == "cosine":
        return f" {_rivalled(gain)} the {reference.name} of the columns as they are, the fair rival ({_difference(gain)})."
    if behind == 0:
        return f" The {reference.name} model is level with it."
    if gain.high < 0 and shown(gain.high).strip("-0."):
        return f" The {reference.name} model is better (difference {_difference(gain)})."
    return f" The {reference.name} model is as good or better (by {_least(behind)})." if behind > 0 else ""


def outdone(gains: Mapping[str, Interval], reference: str) -> str:
    """The best of all baselines, where it is another than the reference and better than the model beyond noise; `gains` are
    the model's over each."""
    best = min(gains, key=lambda name: gains[name].value, default=reference)
    if best == reference or gains[best].high >= 0 or not shown(gains[best].high).strip("-0."):
        return ""
    return f" Of all baselines {best} is the best, and better than the model (difference {_difference(gains[best])})."


def _rivalled(gain: Interval) -> str:
    if gain.low > 0:
        return "It beats"
    if gain.high < 0:
        return "It is worse than"
    if gain.value > LEVEL * (gain.high - gain.low):
        return "It is ahead, but within the noise of so few rows, of"
    return "It is no better than"


def _by_other_measures(metric: str, single: Entry, gains: Mapping[str, Interval], worse: Mapping[str, Sequence[str]]) -> str:
    """What got worse though the primary metric, by which the model was picked, did not."""
    named = {"fused": "before it was optimized", "best_column": f"of {single.name} alone", "linear": "of the linear model"}
    found = [
        f"{together(worse[key])} {said}"
        for key, said in named.items()
        if worse.get(key) and (key == "fused" or gains[key].value > 0)
    ]
    return f" It was picked by {meaning(metric).name}; by other measures it is worse: {'; '.join(found)}." if found else ""


def _least(value: float) -> str:
    """A difference that is there, however small."""
    said = shown(value)
    return said if said.strip("0.") else "less than 0.001"


def _difference(gain: Interval) -> str:
    """With its figure, a tie too."""
    return f"{signed(gain.value)} [{signed(gain.low)}, {signed(gain.high)}]"


def _told(gain: Interval) -> str:
    interval = f"95% interval {signed(gain.low)} to {signed(gain.high)}"
    if gain.value == 0:
        return f"level, {interval}"
    return f"{_least(abs(gain.value))} {'worse' if gain.value < 0 else 'better'}, {interval}"


def looked_at(test: Mapping[str, Any], metric: str) -> str:
    """Whether other inputs help where the words of one are hidden or noise is loud, and where it is whole; empty where that was
    not tried. Told at the most that was hidden, and at the loudest noise."""
    told = []
    for lead, curve in test.get("masked_source", {}).items():
        most = max(curve, key=lambda point: point["share"])
        where = f"where {most['share']:.0%} of the words of {lead} are hidden"
        told += [(name, where, own, f"with all words of {lead}") for name, own in _beside(curve[0], most).items()]
    for lead, ways in test.get("noise_curve", {}).items():
        for curve in ways.values():
            most = min(curve, key=lambda point: point.get("db", math.inf))
            where = f"with {lead} in white noise at {most.get('db', 0):+d} dB"
            told += [(name, where, own, f"with {lead} as it is") for name, own in _beside(curve[0], most).items()]
    name = meaning(metric).name
    return "".join(f" {other} {_where_it_helps(*own, where, whole, name)}." for other, where, own, whole in told)


def _beside(whole: Mapping[str, Any], most: Mapping[str, Any]) -> dict[str, tuple[Interval, Interval]]:
    """Of each other input what it adds to a whole signal and to one that is hidden."""
    both = [point.get("without", {}) for point in (whole, most)]
    return {name: (Interval(**both[0][name]["gain"]), Interval(**both[1][name]["gain"])) for name in both[0] if name in both[1]}


def _where_it_helps(whole: Interval, hidden: Interval, where: str, as_it_is: str, metric: str) -> str:
    """`helps where 50% of the words are hidden (chrF 4.1 better [..]); with all words it does not (chrF 0.2 better [..])`."""
    helps, helps_too = hidden.low > 0, whole.low > 0
    found, found_whole = _by(hidden, metric), _by(whole, metric)
    if helps and helps_too:
        return f"helps {where} ({found}), and {as_it_is} too ({found_whole})"
    if helps:
        return f"helps {where} ({found}); {as_it_is} it {_not(whole)} ({found_whole})"
    if helps_too:
        return f"helps {as_it_is} ({found_whole}); {where} it {_not(hidden)} ({found})"
    return f"{_not(hidden)} {where} ({found}), and {as_it_is} it {_not(whole)} ({found_whole})"


def _not(gain: Interval) -> str:
    return "harms" if gain.high < 0 else "does not help beyond noise"


def _by(gain: Interval, metric: str) -> str:
    size = "" if gain.value == 0 else f"{_least(abs(gain.value))} "
    change = "level" if gain.value == 0 else "worse" if gain.value < 0 else "better"
    return f"{metric} {size}{change} [{signed(gain.low)}, {signed(gain.high)}]"
