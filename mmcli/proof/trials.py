"""What a report shows of the trials of whether an input is looked at: noise, hidden words, cells of another row, other texts.
Tries nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcli.reporting import charts, words
from mmcli.reporting.counts import agreed, counted
from mmcli.reporting.grid import Cell, Grid
from mmcli.reporting.metrics import shown
from mmcli.reporting.svg import Figure
from mmcli.reporting.words import meaning
from mmcli.tasks import Task
from mmcli.text import outputs as answers

Lines = dict[str, list[tuple[float, float]]]
LOUDER = "decibels of the noise over the recording"
SHOWS = 5e-4
"""Scores that differ by less look the same."""


def noise(test: Mapping[str, Any], primary: str) -> list[tuple[Figure, str]]:
    """The score under noise, a drawing to an input: by level, or by decibels, with each other input taken away too."""
    found: list[tuple[str, Lines, str]] = []
    for name, ways in test.get("noise_curve", {}).items():
        levels = {how: [(p["level"], p["score"]) for p in curve] for how, curve in ways.items() if "db" not in curve[-1]}
        if levels:
            found.append(("level", levels, f"{name}, spoilt."))
        for how, curve in ways.items():
            if "db" in curve[-1]:
                loud = [point for point in curve if "db" in point]
                lines = {how: [(-float(point["db"]), point["score"]) for point in loud]}
                lines |= _without(loud, [-float(point["db"]) for point in loud])
                found.append((LOUDER, lines, f"{name} in {how}; without any, {shown(curve[0]['score'])}."))
    every = [score for _, lines, _ in found for line in lines.values() for _, score in line]
    return [(charts.curves(lines, across, primary, every), said) for across, lines, said in found]


def hidden(test: Mapping[str, Any], primary: str) -> list[tuple[Figure, str]]:
    """The score against the share of a text's words that are hidden, with the other inputs and without each."""
    drawn = []
    for name, curve in test.get("masked_source", {}).items():
        shares = [point["share"] for point in curve]
        lines: Lines = {"with all inputs": list(zip(shares, (point["score"]["value"] for point in curve), strict=True))}
        lines |= _without(curve, shares)
        said = f"{name} with words hidden at random, of {curve[0]['words']:,} in all."
        for other in curve[0]["without"]:
            gains = [f"{words.difference(p['without'][other]['gain'])} at {p['share']:.0%}" for p in curve]
            said += f" What {other} adds, in pairs: {', '.join(gains)}."
        drawn.append((charts.curves(lines, "share of the words that are hidden", primary), said))
    return drawn


def _without(curve: Sequence[Mapping[str, Any]], places: Sequence[float]) -> Lines:
    """Where each other input is absent."""
    names = curve[0].get("without", {})
    scores = {name: [point["without"][name]["score"]["value"] for point in curve] for name in names}
    return {f"without {name}": list(zip(places, own, strict=True)) for name, own in scores.items()}


def incongruent(test: Mapping[str, Any], primary: str) -> Grid:
    """The score where each row has another row's cell of an input."""
    rows = []
    for name, own in test.get("incongruent", {}).items():
        gain, score = own["gain"], own["score"]
        lost = Cell(words.signed(gain["value"]), f"[{words.signed(gain['low'])}, {words.signed(gain['high'])}]")
        verdict = "yes" if gain["low"] > 0 else "not beyond noise"
        rows.append(
            [name, Cell(shown(score["value"]), f"{shown(score['low'])}\u00a0–\u00a0{shown(score['high'])}"), lost, verdict]
        )
    metric = words.meaning(primary).name
    header = ["input of another row", metric, "the right one is better by", "looked at"]
    return Grid.of("The score where each row has another row's cell of an input", header, rows, (0, 3))


def contrast(test: Mapping[str, Any]) -> list[str]:
    """How often the right text is likelier than another, in sentences."""
    return [
        f"The right text is likelier than the one in {name} in {own['value']:.1%} of {own['n']:,} test rows "
        f"(95% interval {own['low']:.1%} to {own['high']:.1%}; half is chance"
        + (
            f"; {counted(own['ties'], 'row')} {agreed(own['ties'], 'are')} level and {agreed(own['ties'], 'count')} half)."
            if own["ties"]
            else ")."
        )
        for name, own in test.get("contrast", {}).items()
    ]


def interactions(summary: Mapping[str, Any]) -> str:
    """What EMAP says, in a sentence."""
    found = summary["test"].get("emap")
    if not found:
        return ""
    gain, metric = found["gain"], words.meaning(summary["primary_metric"]).name
    said = (
        f"On {counted(found['rows'], 'test row')} the model reaches {metric} {shown(found['score'])}; the sum of one term for "
        f"each input that stays nearest to it (EMAP) {shown(found['additive_score'])}. {words.EMAP} "
    )
    if gain["low"] > 0:
        return said + "The model uses interactions between inputs: what one says depends on another."
    if gain["value"] > 0:
        return said + "Interactions between inputs may matter; on so few rows that is within the noise."
    return said + "It does not use interactions between inputs: each adds its own evidence."


def unsearched(test: Mapping[str, Any], score: float, task: Task, outputs: Any) -> str:
    """That texts are found in a cheaper way where inputs are taken away or spoilt, where the model searches and that shows."""
    curve: list[dict[str, float]] = next(iter(test.get("missing_curve", {}).values()), [])
    if task.outputs.words != "texts" or not answers.are_searched(outputs):
        return ""
    if not curve or abs(curve[0]["score"] - score) < SHOWS:
        return ""
    return (
        "Where inputs are taken away, exchanged or spoilt, texts are found without the search that the model's own are found "
        f"by, which would take too long: {meaning(task.primary_metric).name} is {shown(curve[0]['score'])} so with nothing "
        f"missing, not {shown(score)}."
    )
