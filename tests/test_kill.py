"""kill -9 while training; the same command again gives the bits of a run that nobody disturbed."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcli.artifacts import store
from mmcli.cli import app
from mmcli.errors import ExitCode
from tests.conftest import ENCODERS

pytestmark = pytest.mark.slow


def command(root: Path) -> list[str]:
    options = ["--set=training.epochs=40", "--set=training.patience=40", "--set=training.checkpoint_every_s=0"]
    return [sys.executable, "-m", "mmcli", "train-encoder", "picture", "-a", str(root), "--device", "cpu", *ENCODERS, *options]


def here(root: Path) -> None:
    """The same in this process."""
    result = CliRunner().invoke(app, command(root)[3:])
    assert result.exit_code == ExitCode.DONE, result.output


def weights(root: Path) -> str:
    manifest = store.read(root, "encoders/picture/cnn", "encoder", "").manifest
    return str(manifest["hash"])


def test_killed_and_called_again(preprocessed: Path, tmp_path: Path) -> None:
    roots = {}
    for name in ("whole", "cut"):
        roots[name] = tmp_path / name
        shutil.copytree(preprocessed / "preprocess", roots[name] / "preprocess")
    here(roots["whole"])

    log = roots["cut"] / "encoders" / "picture" / ".cnn.partial" / "log.csv"
    process = subprocess.Popen(command(roots["cut"]), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert time.monotonic() < deadline
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            pytest.fail("it ended before it could be killed")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not store.exists(roots["cut"], "encoders/picture/cnn")
    assert (log.parent / "checkpoint.safetensors").exists()

    here(roots["cut"])
    assert weights(roots["cut"]) == weights(roots["whole"])
