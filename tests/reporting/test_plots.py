from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcli.reporting import html, plots
from mmcli.reporting.metrics import Interval

SCORE = Interval(0.8, 0.7, 0.9, 50)


def test_every_plot_is_drawn_with_labels_in_any_script(tmp_path: Path) -> None:
    plots.leaderboard([("fused", "fused", SCORE), ("标签", "column", SCORE)], "accuracy", tmp_path / "a.png")
    plots.confusion(np.array([[3, 1], [0, 4]]), ["猫", "a_dog"], tmp_path / "b.png")
    plots.reliability(np.array([0.2, 0.9, 1.0]), np.array([0.0, 1.0, 1.0]), tmp_path / "c.png")
    plots.ablation(SCORE, {"photo": SCORE, "描述": SCORE}, "accuracy", tmp_path / "d.png")
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
        plots.reliability(np.array([0.2, 0.9]), np.array([0.0, 1.0]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_pictures_go_into_the_page(tmp_path: Path) -> None:
    plots.reliability(np.array([0.5]), np.array([1.0]), tmp_path / "a.png")
    assert html.picture(tmp_path / "a.png").startswith("data:image/png;base64,iVBOR")
