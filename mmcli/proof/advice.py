"""What to do next, from what an evaluation found: a sentence each, with the command where there is one. Measures nothing."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmcli.reporting.classes import ClassScore
from mmcli.reporting.words import together

WEAK = 0.5
"""F1 below which a class is called weak."""


@dataclass(frozen=True)
class Advice:
    """A thing to do."""

    said: str
    command: str = ""


def advice(
    summary: Mapping[str, Any],
    classes: Sequence[ClassScore],
    rows: Mapping[str, int],
    rejects: int,
    optimized: bool,
    root: Path,
    compared: bool = False,
    cut: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> list[Advice]:
    """The most worthwhile first. Models of vectors that are `compared` become no more accurate by optimizing. `cut` are
    encoders whose time was over, with their epochs and those that they were to have."""
    at = "" if root == Path("artifacts") else f" -a {shlex.quote(str(root))}"
    found = [*_of_time(cut), *_of_gains(summary), *_of_rows(summary, classes, rows, rejects)]
    if not optimized:
        better = "its vectors smaller" if compared else "more accurate, calibrate it"
        found.append(Advice(f"Make it faster, {better}:", f"mmcli optimize{at}"))
    found.append(Advice("Predict rows that have no answer yet:", f"mmcli predict NEW.csv -o predictions.csv{at}"))
    if compared:
        found.append(Advice("Look among others than the train rows:", f"mmcli enrol TABLE --gallery NAME{at}"))
    found.append(Advice("Take the model to where it is used:", f"mmcli export --to exported{at}"))
    return found


def _of_time(cut: Mapping[str, tuple[int, int]]) -> list[Advice]:
    if not cut:
        return []
    each = together([f"{name} after {done} of {wanted} epochs" for name, (done, wanted) in cut.items()])
    return [Advice(f"Give training more time (--time-budget), before anything else is read off these scores: it ended {each}.")]


def _of_gains(summary: Mapping[str, Any]) -> list[Advice]:
    constant = summary["constant"]
    if not constant["beaten"]:
        said = (
            f"Nothing is shown to beat the {constant['name']} baseline, which sees no input: give more rows, or other inputs."
        )
        return [Advice(said)]
    found = []
    alone = len(summary.get("inputs", ())) == 1  # then there is nothing else
    plainly = summary.get("one_input")
    if plainly and plainly["gain"]["low"] <= 0:
        read = f"{plainly['input']} alone, read by the {plainly['baseline']} baseline"
        found.append(Advice(f"Fusing is not shown to beat {read}: weigh that, or gather more rows."))
    elif not alone and "best_column" in summary["gain"] and summary["gain"]["best_column"]["low"] <= 0:
        name = summary["best_column"]
        found.append(Advice(f"Fusing is not shown to beat {name} alone: weigh {name} alone, or gather more rows."))
    name = summary["reference"]
    if summary["gain"][name]["value"] < 0:
        model = "A linear model on the same inputs" if name == "linear" else f"The {name} baseline"
        found.append(Advice(f"{model} does better: look at what it uses, or try other sub-models."))
    return found


def _of_rows(summary: Mapping[str, Any], classes: Sequence[ClassScore], rows: Mapping[str, int], rejects: int) -> list[Advice]:
    found, trust = [], summary["trust"]
    duplicates = trust["duplicates"]["exact"] + trust["duplicates"]["near"]
    if duplicates:
        found.append(Advice(f"Take out {_the(duplicates, 'test row')} that train has too, or nearly: the score is flattered."))
    if trust["suspects"]:
        found.append(Advice(f"Look at {_the(len(trust['suspects']), 'row')} whose target may be wrong (listed above)."))
    if rejects:
        found.append(Advice(f"Mend {_the(rejects, 'cell')} that could not be read, see preprocess/rejects.csv."))
    weak = [own for own in classes if own.rows and (own.f1 or 0.0) < WEAK]
    if weak:
        weak.sort(key=lambda own: (own.f1 or 0.0, own.name))
        named = together([*(own.name for own in weak[:3]), *([f"{len(weak) - 3} more"] if len(weak) > 3 else [])])
        found.append(Advice(f"Gather more rows of what is seldom found: {named} (F1 below {WEAK:g})."))
    if rows["test"] < 200:
        found.append(Advice(f"Test on more rows: with {rows['test']} the intervals are wide."))
    return found


def _the(count: int, what: str) -> str:
    return f"the one {what}" if count == 1 else f"the {count:,} {what}s"
