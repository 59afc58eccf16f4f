"""Texts: rows a second of the training loop beside a hand-written one, and searches beside plain Python.

    python benchmarks/text.py [--only loop,beam] [--rows 1000] [--json] [--check]

The loop trains an encoder of sound with the head `ctc` on random spectrograms of 1 to 4 s and texts of 8 to 31 characters: its
epochs, with batches gathered, clipping, averaged weights, and a tenth of the rows validated. The hand-written one has the same
network, optimizer, batches and threads, and nothing else: forward, loss, backward, step. Both alternate, the median counts.

The same for a `transformer` over tokens with the head `decoder`, whose network is called by hand too.

The first search is `text.ctc.prefix_beam` with 8 prefixes, a batch at a time, beside one over dictionaries (Hannun 2014), row
by row: both must find the same texts with the same log-probabilities. The second is `text.beam.beam` with 4 texts, over all
rows of a batch with cached keys, beside one that follows the texts of a row in lists and calls the network anew for each step.
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
from mmcli.models.columns import ColumnModel
from mmcli.models.recipe import build_answer, build_encoder
from mmcli.registry import config_of, load, resolve
from mmcli.reporting.console import Console
from mmcli.signals import Column, SignalSpec
from mmcli.tasks.text import Config as TaskConfig
from mmcli.tasks.text import Text
from mmcli.text import ctc
from mmcli.text.beam import beam
from mmcli.text.writer import EDGE, Sizes, Writer
from mmcli.training import device, measuring
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows, shuffled
from mmcli.training.job import Job
from mmcli.training.loop import _State

VOCABULARY = 500
LETTERS = "abcdefghijklmnopqrstuvwxyz "
BATCH = 16
BEAM, PRUNE = 8, -10.0
WIDTH, LIMIT = 4, 24
"""Texts that a writer's beam follows, and the units that one may have."""


def spoken(rows: int) -> tuple[Text, Column, Tensor]:
    """The task, random spectrograms of 80 bands, and texts that fit into a step for every 4 frames."""
    luck = np.random.default_rng(0)
    lengths = luck.integers(100, 400, rows)
    texts = ["".join(luck.choice(list(LETTERS.strip()), int(length) // 13 + 1)) for length in lengths]
    task = Text.fit(TaskConfig(units="char", spoken=True), [(text,) for text in texts], ["text"])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.from_numpy(lengths).cumsum(0)])
    values = torch.from_numpy(luck.standard_normal((int(offsets[-1]), 80), dtype=np.float32)).half()
    return task, Column(values, torch.ones(rows, dtype=torch.bool), offsets), task.encode([(text,) for text in texts])


def translated(rows: int) -> tuple[Text, Column, Tensor]:
    """The task, random ids of 4 to 12 tokens, and texts of 8 to 23 characters."""
    luck = np.random.default_rng(0)
    lengths = luck.integers(4, 13, rows)
    texts = ["".join(luck.choice(list(LETTERS.strip()), int(luck.integers(8, 24)))) for _ in lengths]
    task = Text.fit(TaskConfig(units="char"), [(text,) for text in texts], ["text"])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.from_numpy(lengths).cumsum(0)])
    values = torch.from_numpy(luck.integers(1, VOCABULARY, int(offsets[-1]))).int()
    return task, Column(values, torch.ones(rows, dtype=torch.bool), offsets), task.encode([(text,) for text in texts])


class Trainer:
    """An encoder with its head, as the loop trains it and as a few lines of PyTorch do."""

    def __init__(self, architecture: str, head: str, rows: int, folder: Path, where: str) -> None:
        self.head = head
        self.task, column, targets = spoken(rows) if head == "ctc" else translated(rows)
        train = torch.arange(rows * 9 // 10)
        splits = {"train": train, "val": torch.arange(len(train), rows)}
        own = resolve("encoders", architecture).literals["TRAINING"]
        training = TrainingConfig(**{**own, "epochs": 1000, "batch_size": BATCH})
        compute = device.choose(where)
        job = Job(
            step=encoder_job._Step(self._network(architecture).to(compute.device), "x", "none"),
            rows=Rows({"x": column}, targets, splits, {}).to(compute.device),
            task=self.task,
            config=training.model_copy(update={"patience": 1000, "checkpoint_every_s": 1e9}),
            compute=compute,
            seed=0,
            folder=folder,
            label=architecture,
        )
        self.job = measuring.tuned(job, Console(quiet=True))
        self.state = _State(self.job, Console(quiet=True))
        self.bare = self._network(architecture).to(self.job.compute.device).train()
        self.optimizer = torch.optim.AdamW(self.bare.parameters(), lr=1e-4, fused=True)
        self.done = 0

    def _network(self, architecture: str) -> ColumnModel:
        torch.manual_seed(0)
        config = validate(config_of(load("encoders", architecture)), {}, "benchmark")
        sound, ids = SignalSpec(kind="spectrogram", shape=(80,)), SignalSpec(kind="ids", shape=(), vocab_size=VOCABULARY)
        encoder = build_encoder(architecture, config.model_dump(), sound if self.head == "ctc" else ids)
        return ColumnModel(encoder, build_answer({"name": self.head, "config": {}}, self.task, encoder.dim))

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
        waited(self.job.compute.device)
        started = time.perf_counter()
        with self.job.compute.threading():
            for signal, targets in batches:
                self.optimizer.zero_grad(set_to_none=True)
                with self.job.compute.autocast():
                    self._loss(self.bare.encoder(signal), targets).backward()
                self.optimizer.step()
        waited(self.job.compute.device)
        return len(rows.splits["train"]) / (time.perf_counter() - started)

    def _loss(self, features: Any, targets: Tensor) -> Tensor:
        head: Any = self.bare.head
        counts = (targets >= 0).sum(1)
        if self.head == "ctc":
            frames = head.linear(head.dropout(features.tokens)).float().log_softmax(-1)
            args = (frames.transpose(0, 1), targets.clamp(min=0), features.mask.sum(1), counts)
            return (F.ctc_loss(*args, reduction="none", zero_infinity=True) / counts).mean()
        units = F.pad(targets[:, : int(counts.max())], (0, 1), value=-1)
        ends = torch.arange(units.shape[1], device=counts.device)[None] == counts[:, None]
        given = F.pad(units.clamp(min=0)[:, :-1], (1, 0), value=EDGE)
        logits = head.writer(features.tokens, features.mask, given).float()
        wanted = torch.where(ends, EDGE, units)
        lost = F.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), ignore_index=-1, reduction="none", label_smoothing=head.config.smoothing
        )
        return (lost.unflatten(0, units.shape).sum(1) / (counts + 1)).mean()


def waited(where: torch.device) -> None:
    """Once the device has done what it was handed."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def training(architecture: str, head: str, rows: int, where: str) -> Row:
    """The loop beside the hand-written one: medians of three alternating epochs each, after one to warm up."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(architecture, head, rows, Path(folder), where)
        trainer.loop(), trainer.by_hand()
        found = [(trainer.by_hand(), trainer.loop()) for _ in range(3)]
    step, loop = (median(own) for own in zip(*found, strict=True))
    print(f"{architecture}, {head}: {loop:,.1f} rows/s, by hand {step:,.1f}", file=sys.stderr)
    what = f"{architecture}, {head}, 1,000 rows trained"
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


def plain_writing(writer: Writer, memory: Tensor) -> tuple[list[int], float]:
    """The best text of one row's memory [S, M] and its log-probability: lists, and the whole text anew at each step."""
    live: list[tuple[list[int], float]] = [([], 0.0)]
    ended: list[tuple[list[int], float]] = []
    mask = torch.ones(1, len(memory), dtype=torch.bool)
    while live:
        candidates = []
        for ids, total in live:
            log_probs = writer(memory[None], mask, torch.tensor([[EDGE, *ids]]))[0, -1].log_softmax(-1).tolist()
            candidates += [(ids, unit, total + own) for unit, own in enumerate(log_probs)]
        candidates.sort(key=lambda own: -own[2])
        live, free = [], WIDTH - len(ended)
        for ids, unit, total in candidates[:free]:
            if unit == EDGE or len(ids) + 1 >= LIMIT:
                ended.append((ids if unit == EDGE else [*ids, unit], total))
            else:
                live.append(([*ids, unit], total))
    return max(ended, key=lambda own: own[1] / (len(own[0]) + 1))


@torch.no_grad()
def writing(rows: int) -> Row:
    """The beam of a writer over many rows beside the plain one, which must agree."""
    torch.manual_seed(0)
    writer = Writer(Sizes(units=len(LETTERS), memory=128, dim=128, layers=3, heads=4)).eval()
    memory = torch.randn(rows, 8, 128)
    mask, limit = torch.ones(rows, 8, dtype=torch.bool), torch.full((rows,), LIMIT)
    started = time.perf_counter()
    found = []
    for index in torch.arange(rows).split(128):
        begun = writer.begin(memory[index], mask[index])
        found += [best[0] for best in beam(begun, torch.arange(len(index)), EDGE, EDGE, limit[index], WIDTH)]
    ours = time.perf_counter() - started
    some = range(0, rows, 20)  # the plain one takes minutes for all
    started = time.perf_counter()
    plain = [plain_writing(writer, memory[row]) for row in some]
    theirs = (time.perf_counter() - started) * rows / len(some)
    for row, (ids, log_prob) in zip(some, plain, strict=True):
        assert found[row].ids == ids and abs(found[row].log_prob - log_prob) < 1e-2, (row, found[row], ids, log_prob)
    print(
        f"beam {WIDTH}: {ours:.2f} s, plain Python {theirs:.2f} s by every 20th of {rows:,} rows, same texts", file=sys.stderr
    )
    return Row(f"decoder, beam {WIDTH}, {rows:,} rows", ours, "plain Python", theirs / ours, None, "more than 1", theirs > ours)


def main() -> None:
    """The training loop of the encoders of sound, then the searches."""
    parser = options(str(__doc__))
    parser.add_argument("--only", default="loop,beam", help="loop, beam, or both with a comma")
    parser.add_argument("--device", default="cpu", help="where it is trained: cpu, cuda")
    parser.add_argument("--rows", type=int, default=1000, help="rows that are searched (trained: as many)")
    arguments = parser.parse_args()
    memory.keep_freed()
    rows = []
    if "loop" in arguments.only.split(","):
        pairs = (("crnn", "ctc"), ("conformer", "ctc"), ("transformer", "decoder"))
        rows += [training(architecture, head, arguments.rows, arguments.device) for architecture, head in pairs]
    if "beam" in arguments.only.split(","):
        rows += [search(arguments.rows), writing(arguments.rows)]
    finish(rows, arguments)


if __name__ == "__main__":
    main()
