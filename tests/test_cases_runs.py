"""The inputs that people have, as the scripts in tests/cases make them, trained on from end to end."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mmcli.errors import ExitCode
from tests.making_cases import make, mmcli, run


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder that a script has made: `test_07_...` is of the script that begins with 07."""
    return make(request.node.name[5:7], tmp_path)


@pytest.mark.slow
def test_16_a_target_far_from_nought_is_predicted_to_seconds(case: Path) -> None:
    root, _ = run(case / "data.csv", "t")
    code, _, said = mmcli("predict", case / "data.csv", "-a", root, "-o", case / "p.csv")
    assert code == ExitCode.DONE, said
    found = pd.read_csv(case / "p.csv")["t_predicted"]
    assert found.between(1763990000, 1764013000).all()
    assert found.nunique() > 100
    assert (found % 10).round(2).nunique() > 50


@pytest.mark.slow
def test_23_names_that_look_like_formulas_and_markup(case: Path) -> None:
    root, _ = run(case / "data.csv", "price")
    page = (root / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;x&lt;/b&gt;|y" in page
    assert "$0_$10^" in page and "\\frac$" in page
    assert "<b>x" not in page and "<script>alert" not in page and "$x_$ <i>" not in page


@pytest.mark.slow
def test_24_a_run_with_columns_that_are_empty_in_a_split(case: Path) -> None:
    root, _ = run(case / "data.csv", "label")
    found = pd.read_parquet(root / "evaluation" / "predictions.parquet").filter(like="_probability_")
    assert found.shape == (15, 2)
    assert np.isfinite(found.to_numpy()).all()


@pytest.mark.slow
def test_29_scores_are_those_of_scikit_learn(case: Path) -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    root, _ = run(case / "data.csv", "label", "--input", "text", "--input", "x")
    found = pd.read_parquet(root / "evaluation" / "predictions.parquet")
    told = json.loads((root / "evaluation" / "metrics.json").read_text())
    scores = {name: own["value"] for name, own in told["test"]["fused"].items()}
    right, guessed, classes = found["label"], found["label_predicted"], ["main", "mid", "rare"]
    assert (len(found), Counter(right)["rare"]) == (50, 0)
    assert scores["accuracy"] == pytest.approx(accuracy_score(right, guessed))
    assert scores["macro_f1"] == pytest.approx(f1_score(right, guessed, average="macro"), abs=1e-6)
    probabilities = found[[f"label_predicted_probability_{name}" for name in classes]].to_numpy()
    expected = log_loss(right, probabilities / probabilities.sum(1, keepdims=True), labels=classes)
    assert scores["log_loss"] == pytest.approx(expected, abs=1e-3)
    assert 0 <= scores["auroc"] <= 1
    assert told["trust"]["duplicates"]["exact"] >= 9
    report = " ".join((root / "evaluation" / "report.md").read_text().split())
    assert "of each class or label that occurs or is predicted" in report
    assert "test rows are in train too" in report


@pytest.mark.slow
def test_31_rows_come_back_as_they_were(case: Path) -> None:
    root, _ = run(case / "train.csv", "label")
    for given, written in (("new.parquet", "p.parquet"), ("shuffled.parquet", "s.parquet"), ("new.jsonl", "p.csv")):
        code, _, said = mmcli("predict", case / given, "-a", root, "-o", case / written)
        assert (code, "155 cells with a name that train has never" in said) == (ExitCode.DONE, True)
    new, found, other = (pd.read_parquet(case / name) for name in ("new.parquet", "p.parquet", "s.parquet"))
    pd.testing.assert_frame_equal(found[new.columns], new)
    made = [name for name in found.columns if name not in new.columns]
    pd.testing.assert_frame_equal(other.sort_values("key").reset_index(drop=True)[made], found[made])
    assert [row.split(",")[0] for row in (case / "p.csv").read_text().splitlines()[1:4]] == [str(2**60 + i) for i in range(3)]
    code, _, said = mmcli("predict", case / "p.csv", "-a", root, "-o", case / "again.csv")
    assert code == ExitCode.DONE
    assert "p.csv has 'label_predicted', 'label_predicted_probability'" in said and "already: replaced" in said
