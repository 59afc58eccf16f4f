"""A table and a chain over it that are as small as they may be: what the tests of faults damage again and again."""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from typer.testing import CliRunner

from mmcli.cli import app

FAST = ("--device", "cpu", "--precision", "bfloat16", "--threads", "1", "--quiet")
"""In bfloat16 whatever the processor, so that one candidate of `optimize` is run in float32 and has a name of its own."""
STAGES: dict[str, tuple[str, ...]] = {
    "preprocess": ("preprocess", "TABLE", "--target", "label"),
    "train-encoder": ("train-encoder", "--arch", "auto", "--set=training.epochs=3", "--set=encoder.bag.dim=4"),
    "fuse": ("fuse", "--method", "gated", "--method", "concat", "--seeds", "1", "--set=training.epochs=3"),
    "optimize": (
        "optimize",
        "--trials=2",
        "--goal=accuracy",
        *(f"--only={name}" for name in ("search", "calibrate", "member", "onnx")),
        "--set=training.epochs=3",
    ),
    "evaluate": ("evaluate", "--quick"),
}
"""Stage -> its command, but for where artifacts lie."""


def write_table(path: Path, rows: int = 60) -> Path:
    """Words and two fields, from which the label follows."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "text", "width", "kind", "label"])
        for row in range(rows):
            right = row % 2
            word = draw.choice(("box", "window") if right else ("ball", "apple"))
            label = ("round", "square")[right]
            out.writerow(
                [f"r{row}", f"a {word} {draw.choice('abcdef')}", f"{draw.random() + right:.3f}", draw.choice("uvw"), label]
            )
    return path


def words(stage: str, table: Path, root: Path) -> list[str]:
    """The arguments of a stage's command."""
    said = [str(table) if word == "TABLE" else word for word in STAGES[stage]]
    fast = FAST[-1:] if stage == "preprocess" else FAST
    return [*said, *fast, "-a", str(root)]


def call(*arguments: object) -> tuple[int, str]:
    """The exit code and all that is said of a command in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def make_chain(folder: Path, left_out: Sequence[str] = ()) -> Path:
    """The artifacts root of the chain, and beside it `data.csv`; stages and steps of `optimize` may be left out."""
    table = write_table(folder / "data.csv")
    for stage in (name for name in STAGES if name not in left_out):
        said = [word for word in words(stage, table, folder / "artifacts") if word.removeprefix("--only=") not in left_out]
        code, output = call(*said)
        assert code == 0, (stage, output)
    return folder / "artifacts"


if __name__ == "__main__":
    make_chain(Path(sys.argv[1]))
