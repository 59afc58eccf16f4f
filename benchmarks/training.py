"""Rows a second while training, over whole epochs of the loop, beside the bare step of the same network and beside Keras.

    python benchmarks/training.py [--only cnn-reference,bag,...] [--device cuda] [--keras PYTHON] [--json] [--check]

The bare step: forward, backward and AdamW on one batch that lies ready, as fast as PyTorch goes here (the faster of float32 and
bfloat16 autocast; channels-last; fused AdamW; glibc keeping freed memory). The loop's epochs include gathering the batches,
clipping, averaging weights, validation on a tenth of the rows, metrics and progress. Both alternate and the median counts,
since machines drift. `--keras` names a Python that has TensorFlow: the founding network is then trained by model.fit there as
well, in float32 and in mixed bfloat16, the faster counting.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _table import Row, finish, options
from torch import Tensor, nn

from mmcli.config import validate
from mmcli.data import memory
from mmcli.models.recipe import build_encoder
from mmcli.registry import config_of, load, resolve
from mmcli.reporting.console import Console
from mmcli.signals import Batch, Column, SignalSpec
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig
from mmcli.training import device, measuring
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows
from mmcli.training.job import Job, Step
from mmcli.training.loop import _State

CLASSES = 10
TASK = Classification.fit(TaskConfig(), [(str(i),) for i in range(CLASSES)], ["label"])
KERAS = """
import sys, time, numpy, keras
precision, batch, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
keras.mixed_precision.set_global_policy(precision)
layers = keras.layers
net = keras.Sequential([layers.Input((64, 64, 3)), layers.Conv2D(32, 3, activation='relu'), layers.MaxPooling2D(),
    layers.Flatten(), layers.Dense(128, activation='relu'), layers.Dense(10, dtype='float32')])
net.compile(keras.optimizers.AdamW(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=['accuracy'])
x = numpy.random.default_rng(0).normal(size=(rows, 64, 64, 3)).astype('float32'); y = numpy.arange(rows) % 10
best = 0.0
for epoch in range(4):
    started = time.perf_counter(); net.fit(x, y, batch_size=batch, epochs=1, verbose=0)
    best = max(best, rows / (time.perf_counter() - started))
print(best)
"""


@dataclass(frozen=True)
class Case:
    """A network and the rows that it is trained on."""

    name: str
    architecture: str
    options: dict[str, Any]
    kind: str
    batch: int
    rows: int


def cases() -> list[Case]:
    """The founding network at three sizes of batch, and the architectures that `auto` takes for pictures and text."""
    founding = [Case(f"cnn-reference, {b} a batch", "cnn", {"preset": "reference"}, "grid", b, 4096) for b in (32, 128, 512)]
    return [
        *founding,
        Case("cnn, 64 a batch", "cnn", {}, "grid", 64, 640),
        Case("bag, 64 a batch", "bag", {}, "ids", 64, 1920),
        Case("rnn, 32 a batch", "rnn", {}, "ids", 32, 960),
        Case("transformer, 32 a batch", "transformer", {}, "ids", 32, 960),
    ]


def data(kind: str, rows: int) -> tuple[SignalSpec, Column]:
    """Random pictures of 64 x 64, or texts of 40 tokens."""
    generator = torch.Generator().manual_seed(0)
    present = torch.ones(rows, dtype=torch.bool)
    if kind == "grid":
        values = torch.randn(rows, 3, 64, 64, generator=generator).half()
        return SignalSpec(kind="grid", shape=(3, 64, 64)), Column(values, present)
    pieces = (b"", b"", b"", b"", *(f" {i}".encode() for i in range(7996)))
    ids = torch.randint(4, 8000, (rows * 40,), generator=generator, dtype=torch.int32)
    return SignalSpec(kind="ids", shape=(), vocab_size=8000, pieces=pieces), Column(ids, present, torch.arange(rows + 1) * 40)


class _Step(Step):
    """An encoder and a linear layer on one column."""

    module: nn.ModuleDict

    def outputs(self, batch: Batch) -> Tensor:
        result: Tensor = self.module["head"](self.module["encoder"](batch.inputs["x"]).pooled)
        return result

    def forward(self, batch: Batch) -> Tensor:
        return TASK.loss(self.outputs(batch), batch.targets)


class Trainer:
    """The loop, on such a case."""

    def __init__(self, case: Case, folder: Path, where: str) -> None:
        memory.keep_freed()
        self.case = case
        spec, column = data(case.kind, case.rows)
        torch.manual_seed(0)
        config = validate(config_of(load("encoders", case.architecture)), case.options, "benchmark")
        encoder = build_encoder(case.architecture, config.model_dump(), spec)
        network = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(encoder.dim, CLASSES)})
        prepared = encoder.prepare(column)
        encoder.fit(prepared)
        targets = torch.arange(case.rows) % CLASSES
        train = torch.arange(case.rows * 9 // 10 // case.batch * case.batch)
        splits = {"train": train, "val": torch.arange(len(train), min(len(train) + case.rows // 10, case.rows))}

        own = resolve("encoders", case.architecture).literals["TRAINING"]
        training = TrainingConfig(
            epochs=1000, batch_size=case.batch, checkpoint_every_s=1e9, patience=1000, clip_norm=own.get("clip_norm", 1.0)
        )
        compute = device.choose(where)
        job = Job(
            step=_Step(network.to(compute.device)),
            rows=Rows({"x": prepared}, targets, splits, {}).to(compute.device),
            task=TASK,
            config=training,
            compute=compute,
            seed=0,
            folder=folder,
            label=case.name,
        )
        self.job = measuring.tuned(job, Console(quiet=True))
        self.state = _State(self.job, Console(quiet=True))

    def epoch(self) -> float:
        """Rows a second over an epoch, validation and progress included."""
        started = time.perf_counter()
        with Console(quiet=True).progress("", 1) as progress:
            self.state.run_epoch()
            progress.advance(self.state.said())
        return len(self.job.rows.splits["train"]) / (time.perf_counter() - started)


class ColoursLast(nn.Module):
    """[B, C, H, W] -> [B, H W C]: no copy where the colours lie together."""

    def forward(self, grid: Tensor) -> Tensor:
        return grid.permute(0, 2, 3, 1).flatten(1)


class Bare:
    """Forward, backward and a step of AdamW, on one batch."""

    def __init__(self, case: Case, precision: str, where: torch.device) -> None:
        self.case, self.precision, self.where = case, precision, where
        spec, column = data(case.kind, case.batch)
        torch.manual_seed(0)
        self.network: nn.Module
        if case.options.get("preset") == "reference":
            layers = [nn.Conv2d(3, 32, 3), nn.MaxPool2d(2), nn.ReLU(), ColoursLast(), nn.Linear(30752, 128), nn.ReLU()]
            self.network = nn.Sequential(*layers, nn.Linear(128, CLASSES))
            self.network.to(memory_format=torch.channels_last)
            self.inputs: Any = column.values.float().contiguous(memory_format=torch.channels_last)
        else:
            config = validate(config_of(load("encoders", case.architecture)), case.options, "benchmark")
            encoder = build_encoder(case.architecture, config.model_dump(), spec)
            prepared = encoder.prepare(column)
            encoder.fit(prepared)
            self.network = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(encoder.dim, CLASSES)})
            if case.kind == "grid":
                self.network.to(memory_format=torch.channels_last)
            self.inputs = prepared.gather(torch.arange(case.batch))
        self.network.to(where)
        self.inputs = self.inputs.to(where)
        self.targets = (torch.arange(case.batch) % CLASSES).to(where)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3, fused=True)

    def outputs(self) -> Tensor:
        if isinstance(self.network, nn.Sequential):
            result: Tensor = self.network(self.inputs)
        else:
            assert isinstance(self.network, nn.ModuleDict)
            result = self.network["head"](self.network["encoder"](self.inputs).pooled)
        return result

    def run(self, seconds: float) -> float:
        """Rows a second."""
        waited(self.where)
        started, steps = time.perf_counter(), 0
        while time.perf_counter() - started < seconds or steps < 3:
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.where.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
                loss = nn.functional.cross_entropy(self.outputs().float(), self.targets)
            loss.backward()
            self.optimizer.step()
            steps += 1
            if steps % 50 == 0:  # else a GPU is handed far more than it has done
                waited(self.where)
        waited(self.where)
        return steps * self.case.batch / (time.perf_counter() - started)


def waited(where: torch.device) -> None:
    """Once the device has done what it was handed."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def compared(case: Case, where: str) -> tuple[float, float]:
    """Rows a second of the loop and of the better bare step, medians of alternating runs."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(case, Path(folder), where)
        bare = {precision: Bare(case, precision, trainer.job.compute.device) for precision in ("float32", "bfloat16")}
        trainer.epoch()
        first = {precision: own.run(0.5) for precision, own in bare.items()}
        best = bare[max(first, key=lambda precision: first[precision])]
        loop, step = [], []
        for _ in range(5):
            step.append(best.run(1.0))
            loop.append(trainer.epoch())
    return median(loop), median(step)


def keras(python: str, batch: int, rows: int) -> float:
    """Rows a second of the faster of float32 and mixed bfloat16."""
    found = []
    for precision in ("float32", "mixed_bfloat16"):
        run = subprocess.run(
            [python, "-c", KERAS, precision, str(batch), str(rows)], capture_output=True, text=True, check=True
        )
        found.append(float(run.stdout.split()[-1]))
    return max(found)


def main() -> None:
    """Each case beside its bare step, and the founding network beside Keras."""
    parser = options(str(__doc__))
    parser.add_argument("--only", default="", help="beginnings of names, with commas")
    parser.add_argument("--device", default="cpu", help="where: cpu, cuda")
    parser.add_argument("--keras", default="", help="a Python with TensorFlow")
    arguments = parser.parse_args()
    wanted = tuple(arguments.only.split(","))
    rows = []
    for case in cases():
        if not case.name.startswith(wanted):
            continue
        loop, step = compared(case, arguments.device)
        rows.append(Row(case.name, 1000 / loop, "bare step", loop / step, None, "0.9 or more", loop >= 0.9 * step))
        if arguments.keras and case.name.startswith("cnn-reference"):
            other = keras(arguments.keras, case.batch, case.rows)
            rows.append(Row(case.name, 1000 / loop, "Keras", loop / other, None, "1.5 or more", loop >= 1.5 * other))
        print(f"{case.name}: {loop:,.0f} rows/s, bare step {step:,.0f}", file=sys.stderr)
    finish(rows, arguments)


if __name__ == "__main__":
    main()
