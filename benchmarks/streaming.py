"""Training on pictures that stay on disk, beside the same pictures in memory, in the same run.

    python benchmarks/streaming.py [--rows 20000] [--side 224] [--steps 60] [--json] [--check]

Makes a table of so many pictures, preprocesses it, and takes steps of the cnn: with the column in memory, and read from its
shards under 1 GB for columns (`MMCLI_MEMORY`), shuffled over the whole table either way. Bars: a peak under 2 GiB, whatever the
number of rows, and 0.8 of the speed in memory.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _table import Row, finish, options
from preprocess import photograph

BATCH = 32


def make(folder: Path, rows: int, side: int) -> Path:
    """A table of `rows` rows over 256 different pictures, preprocessed; gives the artifacts root."""
    for number in range(256):
        photograph((side, side), number).save(folder / f"{number}.jpg", quality=90)
    with (folder / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", "label"])
        writer.writerows([[f"{(row * 7919) % 256}.jpg", "ab"[row % 2]] for row in range(rows)])
    command = ["preprocess", folder / "t.csv", "-a", folder / "a", "--image-size", side, "--store", "uint8", "--quiet"]
    subprocess.run([sys.executable, "-m", "mmcli", *map(str, command)], check=True)
    return folder / "a"


def child(root: Path, steps: int) -> dict[str, float]:
    """In this process: rows a second over some steps of an epoch, and the peak of memory."""
    import resource

    from mmcli.data.dataset import Dataset
    from mmcli.jobs import encoder as encoder_job
    from mmcli.models.columns import ColumnModel
    from mmcli.models.recipe import build_answer, build_encoder
    from mmcli.reporting.console import Console
    from mmcli.training import device
    from mmcli.training.config import TrainingConfig
    from mmcli.training.data import shuffled
    from mmcli.training.loop import _State

    dataset, compute = Dataset.open(root), device.choose("cpu")
    encoder = build_encoder("cnn", {}, dataset.input("picture").spec)
    network = ColumnModel(encoder, build_answer({"name": "linear", "config": {}}, dataset.task, encoder.dim))
    config = TrainingConfig(epochs=1, batch_size=BATCH, checkpoint_every_s=1e9, clip_norm=0)
    column = dataset.column("picture")
    job = encoder_job.job("picture", network, column, dataset, config, compute, seed=0, folder=root, label="cnn")
    state = _State(job, Console(quiet=True))
    batches = shuffled(job.rows.splits["train"], BATCH, 0, 0)[: steps + 5]
    started, rows = 0.0, 0
    for number, batch in enumerate(job.rows.ahead(batches)):
        if number == 5:
            started = time.perf_counter()
        state.take_step(batch)
        rows += len(batch) if number >= 5 else 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows_per_s": rows / (time.perf_counter() - started), "peak_mb": peak}


def run(root: Path, steps: int, memory: str) -> dict[str, float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--child", str(root), "--steps", str(steps)]
    done = subprocess.run(command, env={**os.environ, "MMCLI_MEMORY": memory}, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measures two sizes of table."""
    parser = options(str(__doc__))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--child", type=Path)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(child(arguments.child, arguments.steps)))
        return
    rows: list[Row] = []
    for count in (arguments.rows // 10, arguments.rows):
        with tempfile.TemporaryDirectory() as folder:
            root = make(Path(folder), count, arguments.side)
            ways = {"in memory": run(root, arguments.steps, "64GB"), "on disk": run(root, arguments.steps, "1k")}
        for name, found in ways.items():
            ratio = found["rows_per_s"] / ways["in memory"]["rows_per_s"]
            small = found["peak_mb"] < 2048
            row = Row(f"{count:,} pictures {name}", BATCH / found["rows_per_s"], peak_mb=found["peak_mb"])
            if name == "on disk":
                row.ratio, row.reference, row.bar, row.passed = ratio, "in memory", "0.8, 2 GiB", ratio >= 0.8 and small
            rows.append(row)
    finish(rows, arguments)


if __name__ == "__main__":
    main()
