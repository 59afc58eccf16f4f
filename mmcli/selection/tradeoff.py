"""Accuracy against cost: which models are allowed, which are beaten in everything, which one a goal picks. Measures nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mmcli.artifacts.layout import TRADEOFF
from mmcli.artifacts.store import Artifact
from mmcli.models.runners import BFLOAT16, FLOAT32, TORCH, Cost
from mmcli.options.optimize import Goal
from mmcli.reporting import strict
from mmcli.reporting.dots import Point
from mmcli.reporting.metrics import Interval, shown
from mmcli.reporting.words import signed, worsened

CLOCK = 1.25
"""How much faster on average something must be to be faster for sure: two measurements on a busy machine differ so."""
WORTH_SAYING = 0.02
"""Share by which another metric must get worse to be told: less may be rounding."""


@dataclass(frozen=True)
class Row:
    """A model that was tried; without a cost one that could not be run, for `reason`."""

    name: str
    way: str
    """How it is run."""
    score: float = float("nan")
    """The primary metric on val."""
    loss: float = float("nan")
    gain: Interval | None = None
    """How much better than the most accurate model, in pairs; below zero is worse."""
    cost: Cost | None = None
    reason: str = ""
    allowed: bool = False
    """Whether it surely drops no more than may be."""
    superseded: bool = False
    """Whether it is what the most accurate model was before, at the same cost: it is there to compare with, never picked."""
    front: bool = False
    """Whether no allowed model is as good in score, latency and size, and better in one."""
    extra: dict[str, Any] = field(default_factory=dict)
    loss_gain: Interval | None = None
    """What `gain` is, by the loss: how much lower it is."""

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Row:
        """The reverse of `as_dict`."""
        cost = Cost(**found["cost"]) if "cost" in found else None
        gain = Interval(**found["gain"]) if "gain" in found else None
        loss_gain = Interval(**found["loss_gain"]) if "loss_gain" in found else None
        return cls(**{**found, "cost": cost, "gain": gain, "loss_gain": loss_gain})

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        return {key: value for key, value in found.items() if value not in ({}, None, "") and value == value}


def told(artifact: Artifact) -> tuple[dict[str, Any], list[Row]]:
    """What an optimised model's table says: metric, picked, reference; and all models that were tried.

    Raises:
        ArtifactError: it makes no sense.
    """
    table = strict.numbers(artifact.json(TRADEOFF))
    with artifact.understood(TRADEOFF):
        rows = [Row.from_dict(entry) for entry in table["rows"]]
        if not all(isinstance(text, str) for row in rows for text in (row.name, row.way, row.reason)):
            raise ValueError("its models have no names")
        if not {table["picked"], table["reference"]} <= {row.name for row in rows}:
            raise ValueError("its picked model or its reference is none of the models")
        return dict(table), rows


def allowed(gain: Interval, score: float, max_drop: float) -> bool:
    """Whether even the low end of the interval drops no more than that share of the score."""
    return gain.low >= -max_drop * abs(score) - 1e-12


def latency(row: Row) -> float:
    """Median milliseconds of one row; endless where it could not be run."""
    return row.cost.p50_ms_1 if row.cost is not None else math.inf


def level(row: Row, max_drop: float) -> bool:
    """Whether it drops no more than may be on the val rows themselves, surely or not."""
    return row.gain is not None and row.gain.value >= -max_drop * abs(row.score) - 1e-12


def unproven(rows: Sequence[Row], picked: str, max_drop: float) -> Row | None:
    """The fastest model that is level on the val rows, which are too few to show that it drops no more than may be; None where
    the picked one is as fast."""
    bar = min((latency(row) for row in rows if row.name == picked), default=math.inf)
    doubtful = [row for row in rows if not row.allowed and not row.superseded and level(row, max_drop)]
    found = [row for row in doubtful if latency(row) < bar / 1.2]
    return min(found, key=latency, default=None)


def on_front(rows: Sequence[Row], sign: int) -> list[bool]:
    """For each row whether it is allowed and no other allowed one is as good in all and better in something."""

    def place(row: Row) -> tuple[float, float, float]:
        assert row.cost is not None
        return (-sign * round(row.score, 6), row.cost.p50_ms_1, row.cost.size_mb)

    def beaten(row: Row) -> bool:
        own = place(row)
        for other in rows:
            if other.allowed and other.cost is not None and other is not row:
                theirs = place(other)
                if all(a <= b for a, b in zip(theirs, own, strict=True)) and theirs != own:
                    return True
        return False

    return [row.allowed and row.cost is not None and not beaten(row) for row in rows]


def pick(rows: Sequence[Row], goal: Goal, sign: int) -> Row:
    """Of the allowed rows the one that serves the goal best; the best score breaks ties. `balanced` is the least product of the
    latency of one row, that of 32, and the size; a model in another precision must be faster beyond what the clock tells twice
    alike, since its answers differ by rounding. `accuracy` credits no more than the most accurate model's score where the
    difference is within noise, and then looks at the loss: the best of many on few val rows is so by luck."""
    usable = [row for row in rows if row.allowed and row.cost is not None]

    def key(row: Row) -> tuple[float, ...]:
        assert row.cost is not None
        score = -sign * round(row.score, 6)
        if goal == "accuracy":
            luck = max(row.gain.value, 0.0) if row.gain is not None and row.gain.low <= 0 else 0.0
            return (round(score + luck, 6), round(row.loss, 3), row.cost.p50_ms_1)
        if goal == "latency":
            return (row.cost.p50_ms_1, score)
        if goal == "size":
            return (row.cost.size_mb, score)
        costs = (row.cost.p50_ms_1, row.cost.p50_ms_32, row.cost.size_mb)
        return (sum(math.log(max(own, 1e-6)) for own in costs), score)

    best = min(usable, key=key)
    if goal == "balanced" and best.way in {BFLOAT16, FLOAT32}:
        plain = [row for row in usable if row.way == TORCH and row.cost and best.cost and row.cost.size_mb == best.cost.size_mb]
        return next((row for row in plain if key(row)[0] - key(best)[0] < 2 * math.log(CLOCK)), best)
    return best


def table(rows: Sequence[Row], metric: str, picked: str) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the models that could be run; of vectors to compare also how many numbers a row's has."""
    header = ["model", " ", f"val {metric}", "95% vs best", "p50 ms, 1 row", "p95", "p50 ms, 32", "rows/s", "MB", "peak MB"]
    vectors = any("numbers" in row.extra for row in rows)
    header += ["numbers"] * vectors
    cells = []
    for row in rows:
        if row.cost is None:
            continue
        gain = _apart(row.gain) if row.gain is not None else ""
        sure = row.gain is not None and row.gain.high < 0
        fails = "" if row.superseded else "drops too much" if sure else "may drop too much"
        marks = "picked" if row.name == picked else "best trade" if row.front else "" if row.allowed else fails
        numbers = [str(row.extra.get("numbers", ""))] if vectors else []
        cells.append([row.name, marks, shown(row.score), gain, *_costs(row.cost), *numbers])
    return header, cells


def unjudged(name: str, metrics: Mapping[str, Any]) -> list[str]:
    """The cells of a model that stands beside the table, since no row is left that could judge it as the others are: what it
    may be worth, which is marked as that, or what val alone says; and its cost, as its artifact's `metrics` tell them."""
    known, cost = metrics["val"], Cost(**metrics["cost"])
    score = shown(known[metrics["primary_metric"]]) if known else f"about {shown(metrics['estimated'])}"
    return [name, "by name", score, "by val alone" if known else "not known", *_costs(cost)]


def _costs(cost: Cost) -> list[str]:
    return [
        f"{cost.p50_ms_1:.2f}",
        f"{cost.p95_ms_1:.2f}",
        f"{cost.p50_ms_32:.1f}",
        f"{cost.rows_per_s:,.0f}",
        f"{cost.size_mb:.1f}",
        f"{cost.peak_mb:.0f}",
    ]


def _apart(gain: Interval) -> str:
    """How far from the most accurate model; the same to the last row is level."""
    return "level" if gain.low == gain.high == 0 else f"{signed(gain.low)} to {signed(gain.high)}"


def points(rows: Sequence[Row], picked: str) -> list[Point]:
    """The models that could be run, as dots."""

    def kind(row: Row) -> str:
        if row.name == picked:
            return "picked"
        return "front" if row.front else "allowed" if row.allowed else "before" if row.superseded else "other"

    return [Point(row.name, row.score, row.cost.p50_ms_1, row.cost.size_mb, kind(row)) for row in rows if row.cost is not None]


def worse_than_before(metrics: Mapping[str, Any], higher: Mapping[str, bool]) -> list[str]:
    """What of val is worse by `WORTH_SAYING` in the picked model than before optimizing, though it was picked by its primary
    metric."""
    return worsened(metrics["before"]["val"], metrics["after"]["val"], higher, metrics["primary_metric"], WORTH_SAYING)


def left_out(rows: Sequence[Row]) -> list[str]:
    """What was not run, by reason."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.cost is None:
            reasons.setdefault(row.reason, []).append(row.name)
    return [f"{'; '.join(names)}: {reason}" for reason, names in reasons.items()]
