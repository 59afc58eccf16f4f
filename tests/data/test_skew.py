"""Whether a skewed target is learnt on a log scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.data import skew
from mmcli.data.dataset import Dataset
from mmcli.errors import ExitCode
from tests.conftest import write_csv

ROWS = 400


def amounts(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A number and a target that is: its exponential, with noise that multiplies; itself, with noise that is skewed."""
    draw = np.random.default_rng(5)
    x = draw.normal(size=ROWS)
    if kind == "multiplied":
        return x, np.exp(2 + 1.2 * x + 0.3 * draw.normal(size=ROWS))
    return x, 6 + 2 * x.clip(-2.5, 2.5) + draw.exponential(8, ROWS)


def table(path: Path, kind: str) -> Path:
    x, y = amounts(kind)
    rows = [[f"{one:.4f}", "ab"[n % 2], f"{other:.4f}"] for n, (one, other) in enumerate(zip(x, y, strict=True))]
    return write_csv(path, ["x", "kind", "y"], rows)


def preprocess(path: Path, root: Path, *options: str, code: ExitCode = ExitCode.DONE) -> str:
    done = CliRunner().invoke(app, ["preprocess", str(path), "-t", "y", "-a", str(root), *options])
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


@pytest.mark.parametrize(("kind", "scale"), [("multiplied", "log"), ("added", "linear")])
def test_a_log_scale_is_taken_where_train_shows_that_it_pays(tmp_path: Path, kind: str, scale: str) -> None:
    said = preprocess(table(tmp_path / "t.csv", kind), tmp_path / "a")
    task = Dataset.open(tmp_path / "a").task
    assert task.config.scale == scale
    assert "the target 'y' is skewed" in said
    assert ("and learnt on that: a linear model errs by" in said) == (scale == "log")
    assert ("(--target-transform none to change)" in said) == (scale == "log")
    assert "out of fold" in said


def test_the_flag_decides(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "multiplied")
    for told, scale in (("none", "linear"), ("log", "log")):
        said = preprocess(path, tmp_path / told, "--target-transform", told)
        assert "is skewed" not in said
        assert Dataset.open(tmp_path / told).task.config.scale == scale
    assert "--target-transform" in preprocess(path, tmp_path / "b", "--target-transform", "cube", code=ExitCode.USAGE)
    even = write_csv(tmp_path / "e.csv", ["x", "y"], [[str(n % 7), f"{n * 37 % 101}.5"] for n in range(200)])
    assert "skewed" not in preprocess(even, tmp_path / "c")
    assert Dataset.open(tmp_path / "c").task.config.scale == "linear"


def test_both_scales_are_judged_in_the_units_of_the_table() -> None:
    from scipy.sparse import csr_matrix

    x, y = amounts("multiplied")
    folds = np.arange(ROWS) % skew.FOLDS
    found = skew.compare(csr_matrix(x[:, None]), y, folds, np.ones(ROWS))
    exact = np.abs(np.exp(2 + 1.2 * x) - y).mean()  # what the noise leaves to nobody
    assert exact < found.logged < 1.15 * exact
    assert found.as_it_is > 1.5 * exact
    assert found.surely > 2
    only = (np.arange(ROWS) < 300).astype(float)
    weighed = skew.compare(csr_matrix(x[:, None]), y, folds, only)
    fewer = skew.compare(csr_matrix(x[:300, None]), y[:300], folds[:300], np.ones(300))
    assert weighed.as_it_is == pytest.approx(fewer.as_it_is, rel=0.02)
    assert weighed.logged == pytest.approx(fewer.logged, rel=0.02)
