"""Which models are allowed, which are on the front, which one a goal picks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mmcli.models.runners import Cost
from mmcli.options.optimize import Goal
from mmcli.reporting.metrics import Interval
from mmcli.selection.tradeoff import (
    Row,
    allowed,
    left_out,
    on_front,
    pick,
    points,
    table,
    unproven,
    worse_than_before,
)


def row(name: str, score: float, ms: float, mb: float, ok: bool = True, ms_32: float = 10.0) -> Row:
    gain = Interval(0, 0, 0, 9) if ok else Interval(-0.4, -0.5, -0.3, 9)
    return Row(name, "torch", score, 0.5, gain, Cost(ms, 2 * ms, ms_32, 2 * ms_32, 3200 / ms_32, mb, mb), allowed=ok)


ROWS = [
    row("best", 0.90, 10, 40),
    row("onnx", 0.90, 3, 41),
    row("small", 0.89, 8, 4),
    row("beaten", 0.89, 9, 5),
    row("fast but wrong", 0.50, 1, 1, ok=False),
]


def test_the_low_end_of_the_interval_decides() -> None:
    assert allowed(Interval(0.0, -0.004, 0.01, 9), 0.9, 0.005)
    assert not allowed(Interval(0.01, -0.005, 0.02, 9), 0.9, 0.005)
    assert allowed(Interval(0.0, 0.0, 0.0, 9), 0.9, 0.0)


def test_the_front_holds_what_no_allowed_model_beats() -> None:
    found = dict(zip([r.name for r in ROWS], on_front(ROWS, 1), strict=True))
    assert found == {"best": True, "onnx": True, "small": True, "beaten": False, "fast but wrong": False}
    lower_is_better = [row("a", 2.0, 5, 5), row("b", 2.5, 5, 5)]
    assert on_front(lower_is_better, -1) == [True, False]


@pytest.mark.parametrize(
    ("goal", "name"), [("accuracy", "onnx"), ("latency", "onnx"), ("size", "small"), ("balanced", "small")]
)
def test_each_goal_picks_its_own(goal: Goal, name: str) -> None:
    assert pick(ROWS, goal, 1).name == name


@pytest.mark.parametrize(("sign", "better"), [(1, 0.92), (-1, 0.88)])
def test_for_accuracy_what_is_better_by_luck_alone_is_level(sign: int, better: float) -> None:
    best = replace(row("best", 0.90, 10, 40), loss=0.30)
    lucky = replace(row("lucky", better, 1, 1), loss=0.35, gain=Interval(0.02, -0.01, 0.05, 9))
    assert pick([best, lucky], "accuracy", sign).name == "best", "the lower loss decides"
    truly = replace(lucky, gain=Interval(0.02, 0.001, 0.05, 9))
    assert pick([best, truly], "accuracy", sign).name == "lucky"
    assert pick([best, lucky], "latency", sign).name == "lucky"


def test_the_front_does_not_look_at_all_that_a_goal_looks_at() -> None:
    slow_in_batches = row("onnx", 0.9, 3, 30, ms_32=4000)  # better than `best` in all that the front looks at
    rows = [row("best", 0.90, 10, 40), slow_in_batches, row("wrong", 0.5, 1, 1, ok=False)]
    rows = [replace(own, front=here) for own, here in zip(rows, on_front(rows, 1), strict=True)]
    assert [own.name for own in rows if own.front] == ["onnx"]
    assert pick(rows, "balanced", 1).name == "best"


def test_what_is_level_on_few_rows_is_named_but_not_picked() -> None:
    level = replace(row("level", 0.90, 1, 1, ok=False), gain=Interval(0.0, -0.02, 0.02, 92))
    slower = replace(level, name="slower", cost=ROWS[0].cost)
    rows = [*ROWS, slower, level]
    assert unproven(rows, "onnx", 0.005) == level
    assert unproven(rows, "level", 0.005) is None, "it is what was picked"
    assert unproven([*ROWS, slower], "onnx", 0.005) is None, "no faster"
    worse = replace(level, gain=Interval(-0.01, -0.03, 0.01, 92))
    assert unproven([*ROWS, worse], "onnx", 0.005) is None
    assert unproven([*ROWS, worse], "onnx", 0.02) == worse
    assert pick(rows, "latency", 1).name == "onnx"
    marks = {line[0]: line[1] for line in table(rows, "accuracy", "onnx")[1]}
    assert (marks["level"], marks["fast but wrong"]) == ("may drop too much", "drops too much")


def test_the_model_before_tuning_is_not_picked_for_what_the_clock_says() -> None:
    fused = replace(row("fused", 0.90, 0.5, 1, ok=False), gain=Interval(0.0, 0.0, 0.0, 92), superseded=True)
    rows = [*ROWS, fused]
    assert [pick(rows, goal, 1).name for goal in ("latency", "size")] == ["onnx", "small"]
    assert unproven(rows, "onnx", 0.005) is None
    assert {line[0]: line[1] for line in table(rows, "accuracy", "onnx")[1]}["fused"] == ""
    assert Row.from_dict(fused.as_dict()).superseded


def test_balanced_counts_batches_too() -> None:
    slow_in_batches = row("onnx", 0.9, 3, 41, ms_32=400)
    assert pick([ROWS[0], slow_in_batches], "balanced", 1).name == "best"


@pytest.mark.parametrize(("p50", "name"), [(9.0, "plain"), (5.0, "float32")])
def test_another_precision_is_taken_only_where_it_is_faster_for_sure(p50: float, name: str) -> None:
    plain, other = row("plain", 0.9, 10, 40), replace(row("float32", 0.9, p50, 40), way="torch float32")
    assert pick([other, plain], "balanced", 1).name == name
    assert pick([other, plain], "latency", 1).name == "float32"


def test_rows_come_back_from_json_and_reasons_are_told() -> None:
    failed = Row("aot", "aot", reason="no compiler")
    for own in (*ROWS, failed):
        again = Row.from_dict(own.as_dict())
        assert (again.name, again.cost, again.reason, again.allowed) == (own.name, own.cost, own.reason, own.allowed)
    header, cells = table([*ROWS, failed], "accuracy", "onnx")
    assert all(len(line) == len(header) for line in cells)
    assert cells[1][1] == "picked"
    assert cells[4][1] == "drops too much"
    again = replace(failed, name="small, aot")
    assert left_out([*ROWS, failed, Row("onnx", "onnx", reason="no package"), again]) == [
        "aot; small, aot: no compiler",
        "onnx: no package",
    ]


def test_what_is_the_same_to_the_last_row_is_level() -> None:
    gains = {
        "best": Interval(0, 0, 0, 9),
        "onnx": Interval(-0.0001, -0.0002, 0.0001, 9),
        "small": Interval(0.01, -0.01, 0.03, 9),
    }
    rows = [replace(own, gain=gains[own.name]) for own in ROWS[:3]]
    assert [line[3] for line in table(rows, "accuracy", "onnx")[1]] == ["level", "0.000 to 0.000", "-0.010 to +0.030"]


def test_dots_are_of_what_could_be_run() -> None:
    fused = replace(ROWS[4], name="fused", superseded=True)
    rows = [replace(ROWS[0], front=True), *ROWS[1:], fused, Row("aot", "aot", reason="no compiler")]
    found = points(rows, "onnx")
    assert [(own.name, own.kind) for own in found] == [
        ("best", "front"),
        ("onnx", "picked"),
        ("small", "allowed"),
        ("beaten", "allowed"),
        ("fast but wrong", "other"),
        ("fused", "before"),
    ]
    assert (found[0].score, found[0].milliseconds, found[0].megabytes) == (0.90, 10, 40)


def test_what_of_val_got_worse_is_told_beyond_rounding() -> None:
    before = {"accuracy": 0.9, "log_loss": 0.271, "ece": 0.050, "auroc": 0.99}
    after = {"accuracy": 0.92, "log_loss": 0.520, "ece": 0.0505, "auroc": 0.991}
    found = {"before": {"val": before}, "after": {"val": after}, "primary_metric": "accuracy"}
    higher = {"accuracy": True, "auroc": True, "log_loss": False, "ece": False}
    assert worse_than_before(found, higher) == ["log loss 0.520 instead of 0.271"]
