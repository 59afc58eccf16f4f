"""Texts: rows a second of the training loop beside a hand-written one, and searches beside plain Python.

    python benchmarks/text.py [--only loop,beam] [--rows 1000] [--json] [--check]

The loop trains an encoder of sound with the head `ctc` on random spectrograms of 1 to 4 s and texts of 8 to 31 characters: its
epochs, with batches gathered, clipping, averaged weights, and a tenth of the rows validated. The hand-written one has the same
network, optimizer, batches and threads, and nothing else: forward, loss, backward, step. Both alternate, the median counts.

The search is `text.ctc.prefix_beam` with 8 prefixes, a batch at a time, beside one over dictionaries (Hannun 2014), row by row:
both must find the same texts with the same log-probabilities.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _table import Row, finish, options
from torch import Tensor
from torch.nn import functional as F

from mmcli.config import validate
from mmcli.data import memory
from mmcli.jobs import encoder as encoder_job
from mmcli.models.networks import ColumnModel
from mmcli.models.recipe import build_answer, build_encoder
from mmcli.registry import config_of, load, resolve
from mmcli.reporting.console import Console
from mmcli.signals import Column, SignalSpec
from mmcli.tasks.text import Config as TaskConfig
from mmcli.tasks.text import Text
from mmcli.text import ctc
from mmcli.training import device, measuring
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows, shuffled
from mmcli.training.job import Job
from mmcli.training.loop import _State

LETTERS = "abcdefghijklmnopqrstuvwxyz "
BATCH = 16
BEAM, PRUNE = 8, -10.0


def spoken(rows: int) -> tuple[Text, Column, Tensor]:
    """The task, random spectrograms of 80 bands, and texts that fit into a step for every 4 frames."""
    luck = np.random.default_rng(0)
    lengths = luck.integers(100, 400, rows)
    texts = ["".join(luck.choice(list(LETTERS.strip()), int(length) // 13 + 1)) for length in lengths]
    task = Text.fit(TaskConfig(units="char", spoken=True), [(text,) for text in texts], ["text"])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.from_numpy(lengths).cumsum(0)])
    values = torch.from_numpy(luck.standard_normal((int(offsets[-1]), 80), dtype=np.float32)).half()
    return task, Column(values, torch.ones(rows, dtype=torch.bool), offsets), task.encode([(text,) for text in texts])


class Trainer:
    """An encoder with its head, as the loop trains it and as a few lines of PyTorch do."""

    def __init__(self, architecture: str, rows: int, folder: Path) -> None:
        self.task, column, targets = spoken(rows)
        train = torch.arange(rows * 9 // 10)
        splits = {"train": train, "val": torch.arange(len(train), rows)}
        own = resolve("encoders", architecture).literals["TRAINING"]
        training = TrainingConfig(**{**own, "epochs": 1000, "batch_size": BATCH})
        job = Job(
            step=encoder_job._Step(self._network(architecture), "x", "none"),
            rows=Rows({"x": column}, targets, splits, {}),
            task=self.task,
            config=training.model_copy(update={"patience": 1000, "checkpoint_every_s": 1e9}),
            compute=device.choose("cpu"),
            seed=0,
            folder=folder,
            label=architecture,
        )
        self.job = measuring.tuned(job, Console(quiet=True))
        self.state = _State(self.job, Console(quiet=True))
        self.bare = self._network(architecture).train()
        self.optimizer = torch.optim.AdamW(self.bare.parameters(), lr=1e-4, fused=True)
        self.done = 0

    def _network(self, architecture: str) -> ColumnModel:
        torch.manual_seed(0)
        config = validate(config_of(load("encoders", architecture)), {}, "benchmark")
        encoder = build_encoder(architecture, config.model_dump(), SignalSpec(kind="spectrogram", shape=(80,)))
        return ColumnModel(encoder, build_answer({"name": "ctc", "config": {}}, self.task, encoder.dim))

    def loop(self) -> float:
        """Rows a second over an epoch, validation and progress included."""
        started = time.perf_counter()
        with Console(quiet=True).progress("", 1) as progress:
            self.state.run_epoch()
            progress.advance(self.state.said())
        self.done += 1
        return len(self.job.rows.splits["train"]) / (time.perf_counter() - started)

    def by_hand(self) -> float:
        """Rows a second over the same batches, which lie ready."""
        rows = self.job.rows
        index = shuffled(rows.splits["train"], BATCH, 0, self.done, rows.lengths)
        batches = [(rows.gather(own).inputs["x"], rows.targets[own]) for own in index]
        started = time.perf_counter()
        with self.job.compute.threading():
            for signal, targets in batches:
                self.optimizer.zero_grad(set_to_none=True)
                with self.job.compute.autocast():
                    features = self.bare.encoder(signal)
                    frames = self.bare.head.linear(self.bare.head.dropout(features.tokens)).float().log_softmax(-1)  # type: ignore
                counts = (targets >= 0).sum(1)
                args = (frames.transpose(0, 1), targets.clamp(min=0), features.mask.sum(1), counts)
                (F.ctc_loss(*args, reduction="none", zero_infinity=True) / counts).mean().backward()
                self.optimizer.step()
        return len(rows.splits["train"]) / (time.perf_counter() - started)


def training(architecture: str, rows: int) -> Row:
    """The loop beside the hand-written one: medians of three alternating epochs each, after one to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(architecture, rows, Path(folder))
        trainer.loop(), trainer.by_hand()
        found = [(trainer.by_hand(), trainer.loop()) for _ in range(3)]
    step, loop = (median(own) for own in zip(*found, strict=True))
    print(f"{architecture}, ctc: {loop:,.1f} rows/s, by hand {step:,.1f}", file=sys.stderr)
    what = f"{architecture}, ctc, 1,000 rows trained"
    return Row(what, 1000 / loop, "by hand", loop / step, None, "0.9 or more", loop >= 0.9 * step)


def frames_of(rows: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities [B, 60, 30] of a model that is right of most frames and unsure of some, and their lengths."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(rows, 60, 30, generator=generator) * 1.5
    said = torch.randint(1, 30, (rows, 60), generator=generator)
    said = torch.where(torch.rand(rows, 60, generator=generator) < 0.6, 0, said)
    values.scatter_add_(2, said[..., None], torch.rand(rows, 60, 1, generator=generator) * 10)
    return values.log_softmax(-1), torch.randint(30, 61, (rows,), generator=generator)


def plain_beam(frames: Any) -> tuple[list[int], float]:
    """The best text of one row of frames [T, V] and its log-probability: prefixes in a dictionary."""
    none = -math.inf
    held: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, none)}  # ending in a blank, in a unit
    for frame in frames:
        symbols = [unit for unit in range(1, len(frame)) if frame[unit] > PRUNE]
        after: dict[tuple[int, ...], tuple[float, float]] = {}

        def add(prefix: tuple[int, ...], blank: float, unit: float, after: Any = after) -> None:
            own = after.get(prefix, (none, none))
            after[prefix] = (added(own[0], blank), added(own[1], unit))

        for prefix, (blank, unit) in held.items():
            total = added(blank, unit)
            last = prefix[-1] if prefix else -1
            add(prefix, total + frame[0], unit + frame[last] if prefix else none)
            for symbol in symbols:
                add((*prefix, symbol), none, (blank if symbol == last else total) + frame[symbol])
            for other in held:  # one that is held gets what it is given, however little
                if len(other) == len(prefix) + 1 and other[:-1] == prefix and frame[other[-1]] <= PRUNE:
                    add(other, none, (blank if other[-1] == last else total) + frame[other[-1]])
        held = dict(sorted(after.items(), key=lambda own: -added(*own[1]))[:BEAM])
    best = max(held, key=lambda prefix: added(*held[prefix]))
    return list(best), added(*held[best])


def added(one: float, other: float) -> float:
    """log(exp(one) + exp(other))."""
    high, low = (one, other) if one > other else (other, one)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def search(rows: int) -> Row:
    """The prefix beam of many rows beside the plain one, which must agree."""
    values, lengths = frames_of(rows)
    started = time.perf_counter()
    found = [
        best[0]
        for index in torch.arange(rows).split(256)
        for best in ctc.prefix_beam(values[index], lengths[index], BEAM, prune=PRUNE)
    ]
    ours = time.perf_counter() - started
    started = time.perf_counter()
    plain = [plain_beam(row[:length].tolist()) for row, length in zip(values, lengths.tolist(), strict=True)]
    theirs = time.perf_counter() - started
    for own, (ids, log_prob) in zip(found, plain, strict=True):
        assert own.ids == ids and abs(own.log_prob - log_prob) < 1e-3, (own, ids, log_prob)
    print(f"prefix beam {BEAM}: {ours:.2f} s, plain Python {theirs:.2f} s, {rows:,} rows with the same texts", file=sys.stderr)
    return Row(f"prefix beam {BEAM}, {rows:,} rows", ours, "plain Python", theirs / ours, None, "more than 1", theirs > ours)


def main() -> None:
    """The training loop of the encoders of sound, then the searches."""
    parser = options(str(__doc__))
    parser.add_argument("--only", default="loop,beam", help="loop, beam, or both with a comma")
    parser.add_argument("--rows", type=int, default=1000, help="rows that are searched (trained: as many)")
    arguments = parser.parse_args()
    memory.keep_freed()
    rows = []
    if "loop" in arguments.only.split(","):
        rows += [training(architecture, arguments.rows) for architecture in ("crnn", "conformer")]
    if "beam" in arguments.only.split(","):
        rows.append(search(arguments.rows))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
