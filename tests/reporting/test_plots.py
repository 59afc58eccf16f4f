from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mmcli.reporting import plots
from mmcli.reporting.dots import Point
from mmcli.reporting.metrics import Interval

SCORE = Interval(0.8, 0.7, 0.9, 50)


def test_every_plot_is_drawn_with_labels_in_any_script(tmp_path: Path) -> None:
    plots.leaderboard([("fused $x_$", "fused", SCORE), ("标签", "column", SCORE)], "accuracy", tmp_path / "a.png")
    points = [Point("tuned", 0.9, 2.0, 10.0, "picked"), Point("标签", 0.8, 3.0, 4.0, "other")]
    plots.tradeoff(points, "accuracy", tmp_path / "b.png")
    plots.history([0.7, 0.8, 0.75], "accuracy", True, tmp_path / "c.png")
    plots.importances({"学习率": 0.8, "dropout": 0.2}, tmp_path / "d.png")
    for name in "abcd":
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.width > 400
            assert len(image.convert("L").getcolors(256) or []) > 10


def test_labels_without_a_font_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "_CJK_FONTS", ())
    assert plots.readable(["猫", "dog"]) == ["#1", "#2"]
    assert plots.readable(["straße", "dog"]) == ["straße", "dog"]


def test_the_same_plot_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plots.history([0.2, 0.9], "accuracy", True, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
