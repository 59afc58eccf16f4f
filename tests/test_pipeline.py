"""The whole chain as a user types it: shell commands in an empty folder, on the sample table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FEWER = """
encoder.cnn-rnn = { width = 4, stages = 2 }
encoder.crnn = { width = 16, hidden = 48 }
encoder.cnn = { width = 16 }
[preprocess]
image-size = 32
frames = 2
[train-encoder.training]
epochs = 16
[fuse]
seeds = 1
[fuse.training]
epochs = 24
[evaluate]
quick = true
[optimize]
skip = ["onnx", "quantize", "finetune", "prune", "distill"]
"""
"""Less than by default: enough to show it. Clips alone tell next to nothing of the class, and are slow to train on; graphs of
this table are tested in stages/test_export.py, other steps and the whole evaluation in stages/test_optimize.py."""
pytestmark = pytest.mark.slow


def shell(*command: str | Path, folder: Path, **environment: str) -> str:
    # the console script of this interpreter's environment comes first
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_sample_pipeline_shows_fusion_winning(tmp_path: Path) -> None:
    """pipeline.sh, its five stages; neither column alone can tell the class, both together can."""
    fewer = tmp_path / "fewer.toml"
    fewer.write_text(FEWER)
    options = {"MMCLI_TIME_BUDGET": "10s", "MMCLI_CONFIG": str(fewer)}
    said = shell("bash", ROOT / "sample_data" / "pipeline.sh", folder=tmp_path, **options)
    assert "report.html" in said.splitlines()[-1]
    metrics = json.loads((tmp_path / "artifacts" / "evaluation" / "metrics.json").read_text())
    test = metrics["test"]
    best_column = max(scores["accuracy"]["value"] for scores in test["columns"].values())
    assert best_column < 0.65
    assert test["fused"]["accuracy"]["value"] > best_column + 0.15
    assert test["fused"]["accuracy"]["value"] > test["baselines"]["linear"]["accuracy"]["value"]
    assert metrics["gain"]["best_column"]["low"] > 0

    shell("mmcli", "predict", ROOT / "sample_data" / "data.csv", "-o", "out.parquet", folder=tmp_path)
    assert "complete" in shell("mmcli", "status", folder=tmp_path)


def test_the_sample_table_is_what_its_script_makes(tmp_path: Path) -> None:
    """The table's words byte for byte; the pictures by their pixels, since PNG's bytes depend on the version of zlib."""
    script = tmp_path / "make.py"
    script.write_bytes((ROOT / "sample_data" / "make.py").read_bytes())
    subprocess.run([sys.executable, script], check=True)
    assert (tmp_path / "data.csv").read_bytes() == (ROOT / "sample_data" / "data.csv").read_bytes()
    for folder in ("photos", "clips", "sounds"):
        made = sorted(path.name for path in (tmp_path / folder).iterdir())
        assert made == sorted(path.name for path in (ROOT / "sample_data" / folder).iterdir())
    for sound in (tmp_path / "sounds").iterdir():
        assert sound.read_bytes() == (ROOT / "sample_data" / "sounds" / sound.name).read_bytes()
