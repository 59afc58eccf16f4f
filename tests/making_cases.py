"""What the tests of tests/cases share: making the input of a script, and asking the program of it."""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.data.dataset import Dataset
from mmcli.errors import ExitCode
from tests.conftest import SMALL

SCRIPTS = sorted((Path(__file__).parent / "cases").glob("*.py"))
SAID = "said.txt"
"""What a script prints."""


def make(number: str, folder: Path) -> Path:
    """The folder, with what the script of that number makes in it."""
    script = next(path for path in SCRIPTS if path.name.startswith(number))
    arguments = mock.patch.object(sys, "argv", [str(script), str(folder)])
    with (folder / SAID).open("w") as said, contextlib.redirect_stdout(said), arguments:
        runpy.run_path(str(script), run_name="__main__")
    return folder


def mmcli(*arguments: object) -> tuple[int, str, str]:
    """The exit code, standard output, and standard error without line ends."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def inspect(path: Path, *arguments: object) -> tuple[dict[str, Any], str]:
    """What `inspect` tells as JSON, and what it says."""
    code, output, said = mmcli("inspect", path, "--json", *arguments)
    assert code == ExitCode.DONE, said
    return json.loads(output), said


def kinds(told: dict[str, Any]) -> dict[str, str]:
    return {item["column"]: item["modality"] for item in told["columns"]}


def preprocess(path: Path, *arguments: object) -> tuple[Dataset, str]:
    root = path.parent / f"art-{path.name}"
    code, _, said = mmcli("preprocess", path, "-a", root, *arguments)
    assert code == ExitCode.DONE, said
    return Dataset.open(root), said


def values(dataset: Dataset, column: str) -> list[float]:
    """What was read of a column of numbers, back on its own scale."""
    name = next(name for name, own in dataset.schema["inputs"].items() if column in own)
    members = list(dataset.input(name).members)
    state = dataset.input(name).members[column].state()
    stored = dataset.column(name).gather(torch.arange(len(dataset.rows))).values[:, members.index(column)]
    return [state["base"] + float(own) * state["spread"] + state["centre"] for own in stored]


def run(path: Path, target: str, *arguments: object) -> tuple[Path, str]:
    """The artifacts root of a whole run, tiny."""
    root = path.parent / "art"
    small = ("--preset", "fast", "--no-optimize", "--method", "gated", *SMALL)
    code, output, said = mmcli("run", path, "--target", target, "-a", root, *small, *arguments)
    assert code == ExitCode.DONE, said
    return root, f"{' '.join(output.split())} {said}"


def are_red_and_blue(dataset: Dataset) -> bool:
    """Whether row 1 is a blue picture and row 2 a red one, below the noise at their top."""
    signal = dataset.column("image" if "image" in dataset.inputs else "photo").gather(torch.arange(2))
    colours = signal.values[:, :, signal.values.shape[2] // 2 :].float().mean((2, 3))
    return bool(signal.present.all() and colours[0, 2] > colours[0, 0] and colours[1, 0] > colours[1, 2])
