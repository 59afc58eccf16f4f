"""Scales end where their values can; drawings are well-formed whatever they are named after, and keep their text's size."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from mmcli.reporting import charts, dots, svg
from mmcli.reporting.metrics import Interval
from mmcli.reporting.svg import Figure, Scale

WILD = 'a<b>&"quoted" $x_$ \\frac `tick` 标签 \x00 ' + "long " * 80
NAN = float("nan")


def test_a_scale_ends_on_round_values_but_never_beyond_what_can_be() -> None:
    assert Scale.around([0.62, 0.97], 0, 1) == Scale(pytest.approx(0.6), 1)
    assert Scale.around([0.86, 0.99, 1.0], 0, 1).high == 1
    assert Scale.around([0.62, 0.97]).high == pytest.approx(1.0)
    assert Scale.around([3.0, 47.0]) == Scale(0, 50)
    outward = Scale.around([0.681, 0.915], 0, 1)
    ticks = [value for value, _ in outward.ticks()]
    assert [ticks[0], ticks[-1]] == [pytest.approx(outward.low), pytest.approx(outward.high)], "it ends on ticks"
    assert Scale.around([0.4, NAN, 0.6], 0, 1).low == pytest.approx(0.4)
    lone = Scale.around([1.0, 1.0], 0, 1)
    assert lone.low < 1 and lone.high == 1
    assert Scale.around([]).high > Scale.around([]).low


def test_ticks_are_few_round_and_written_alike() -> None:
    assert [said for _, said in Scale(0.6, 1.0).ticks()] == ["0.6", "0.7", "0.8", "0.9", "1.0"]
    assert [said for _, said in Scale(-20, 10).ticks()] == ["-20", "-10", "0", "10"]
    assert [said for _, said in Scale(0, 50_000).ticks()] == ["0", "10,000", "20,000", "30,000", "40,000", "50,000"]
    for low, high in [(0, 1), (1, 100), (-3.7, 12.2), (0.001, 0.0042), (5, 5e9)]:
        assert 1 <= len(Scale(low, high).ticks()) <= 6
    for low, high in [(2.2, 25.0), (0.3, 900.0), (3.0, 4.0), (1e-3, 1e6)]:
        found = [value for value, _ in Scale(low, high, log=True).ticks()]
        assert 1 <= len(found) <= 6
        assert all(low <= value <= high for value in found)


def test_names_are_cut_by_what_they_take_up() -> None:
    assert svg.cut("short", 10) == "short"
    assert svg.cut("a\nb\tc", 10) == "a b c"
    assert svg.cut("标签标签标签", 6) == "标签…"
    assert svg.width_of(svg.cut("x" * 99, 26)) == 26


def figures() -> list[Figure]:
    score, wild = Interval(0.8, 0.7, 0.9, 50), Interval(NAN, NAN, NAN, 50)
    points = [dots.Point(f"{WILD} {n}", 0.9 - n / 10, 1.0 + n, 4.0, kind) for n, kind in enumerate(dots.KINDS)]
    numbers = np.linspace(-1, 1, 3000)
    return [
        charts.leaderboard([(WILD, "fused", score), ("b", "column", wild)], "accuracy"),
        charts.ablation(score, {WILD: score, "b": wild}, "accuracy"),
        charts.contributions({WILD: 0.3, "b": -0.1}, "accuracy", True),
        charts.importances({WILD: 0.9, "b": 0.1}),
        charts.labels([(WILD, 3, 0.5), ("b", 0, 0.0)]),
        charts.curves({WILD: [(0, 0.9), (1, NAN)], "b": [(0, 0.9), (1, 0.2)]}, WILD, "accuracy"),
        charts.training([{"epoch": 1, "train_loss": 2.0, "val_loss": NAN}, {"epoch": 2, "train_loss": 1.0}], WILD),
        charts.confusion(np.array([[3, 1], [0, 4]]), [WILD, "b"]),
        charts.reliability(np.array([0.2, 0.9, 1.0]), np.array([0.0, 1.0, 1.0])),
        charts.scatter(numbers, numbers[::-1], WILD),
        charts.errors(numbers, WILD),
        charts.history([0.7, 0.8, NAN], "accuracy", True),
        dots.tradeoff(points, "accuracy"),
    ]


@pytest.mark.parametrize("figure", figures(), ids=lambda figure: figure.label[:20])
def test_every_drawing_is_well_formed_and_says_what_it_is(figure: Figure) -> None:
    for drawn in (figure.standalone(), f"<div>{figure.inline()}</div>"):
        root = ElementTree.fromstring(drawn)
        named = [node for node in root.iter() if node.get("aria-label")]
        assert named and named[0].get("role") in {"img", "group"}
        assert "nan" not in re.sub(r">[^<]*<", "><", drawn)
    assert "http" not in figure.inline()
    assert "viewBox" not in re.sub(r'<svg[^>]*preserveAspectRatio="none"', "", figure.inline()), "text would be scaled"


def test_a_scatter_shows_no_more_dots_than_can_be_told_apart() -> None:
    every = np.arange(50_000.0)
    assert charts.scatter(every, every, "y").body.count("<circle") == charts.MOST_DOTS


def test_a_confusion_matrix_says_each_count() -> None:
    drawn = charts.confusion(np.array([[3, 1], [0, 4]]), ["cat", "dog"]).body
    assert "cat, predicted dog: 1 row (25%)" in drawn
    assert drawn.count('class="heat"') == 3, "empty cells are not drawn"


def test_every_dot_of_the_trade_off_can_be_reached_and_names_itself() -> None:
    crowd = [dots.Point(f"model {n}", 0.9, 1.0 + n / 1000, 5.0, "allowed") for n in range(9)]
    points = [dots.Point("tuned, onnx", 0.95, 1.0, 5.0, "picked"), *crowd]
    drawn = dots.tradeoff(points, "accuracy").body
    assert drawn.count('tabindex="0"') == len(points)
    for point in points:
        assert f"<title>{point.name} (" in drawn
        assert f">{point.name}</text>" in drawn
    assert "tuned, onnx (picked): accuracy 0.950, 1.00 ms, 5.0 MB" in drawn
    shown = re.findall(r'class="name always[a-z-]*"[^>]*>([^<]*)<', drawn)
    assert "tuned, onnx" in shown
    assert len(shown) < len(points), "names that would collide wait for a pointer"


def test_a_log_scale_places_by_ratio() -> None:
    scale = Scale(1, 100, log=True)
    assert scale.at(10) == pytest.approx(0.5)
    assert math.isfinite(Scale.around([0.0, 5.0], log=True).low)


def luminance(colour: str) -> float:
    """Relative, of WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_can_be_told_from_what_they_stand_on(dark: bool) -> None:
    light, _, after = svg.styles().partition("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", after.partition("} }")[0] if dark else light))
    for text in ("ink", "muted", "accent", "good", "bad"):
        for ground in ("page", "soft" if text in {"ink", "accent"} else "page", "tint" if text == "ink" else "page"):
            assert contrast(found[text], found[ground]) >= 4.5, (text, ground)
    assert contrast(found["ink"], found["heat"]) >= 4.5, "counts in the confusion matrix"
    for mark in (f"s{n}" for n in range(8)):
        assert contrast(found[mark], found["page"]) >= 3, mark


def test_small_and_large_ticks_take_few_characters() -> None:
    assert [said for _, said in Scale(0, 1e-5).ticks()] == ["0", "2e-06", "4e-06", "6e-06", "8e-06", "1e-05"]
    assert [said for _, said in Scale(1e9, 3e9).ticks()] == ["1e+09", "1.5e+09", "2e+09", "2.5e+09", "3e+09"]


def test_the_line_of_all_inputs_stops_at_the_texts_of_bars_instead_of_crossing_them() -> None:
    drawn = charts.ablation(Interval(0.98, 0.95, 1.0, 50), {"photo": Interval(0.975, 0.95, 1.0, 50)}, "accuracy")
    root = ElementTree.fromstring(f"<svg>{drawn.body}</svg>")
    marks = list(root)
    line = next(place for place, own in enumerate(marks) if own.get("class") == "reference")
    grounds = [(place, own) for place, own in enumerate(marks) if own.tag == "rect" and own.get("class") == "page"]
    texts = {own.text: (place, float(own.get("y") or 0)) for place, own in enumerate(marks) if own.tag == "text" and own.text}
    texts |= {"without photo": next((p, float(m.get("y") or 0)) for p, m in enumerate(marks) if m.findtext("title"))}
    for (place, ground), said, left in zip(grounds, ("without photo", "0.975"), ("-4", "100%"), strict=True):
        at, down = texts[said]
        assert line < place < at
        top, wide = float(ground.get("y") or 0), float(ground.get("width") or 0)
        assert top <= down - 12 and down + 3 <= top + float(ground.get("height") or 0)
        assert (wide, ground.get("x")) == (svg.CHARACTER * len(said) + 8, left)
    assert grounds[1][1].get("transform") == "translate(-44 0)"
    plain = charts.contributions({"a": 0.2, "b": 0.1}, "accuracy", True)
    assert 'class="page"' not in plain.body
