"""The one training loop: AdamW, warm-up and cosine, clipping, averaged weights, early stopping, checkpoints, a log.

Everything that decides the next step is in the checkpoint or is a function of seed and position, so that a run that was killed
and resumed gives the bits of one that was not.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcli.artifacts.store import write_atomic
from mmcli.errors import MmcliError
from mmcli.reporting.console import Console
from mmcli.signals import Batch
from mmcli.training import checkpoint
from mmcli.training.answering import batches_of, begin, enrol, outputs_of
from mmcli.training.device import seed_everything
from mmcli.training.job import Job
from mmcli.training.soup import Rank, Soup
from mmcli.training.steps import gradient, optimizer_of, out_of_memory, sees_parts
from mmcli.training.weights import exchange, moving

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.csv"
AVERAGE_EVERY = 16
"""Steps from one update of the averaged weights to the next: one costs as much as a third of a step."""


@dataclass
class _Position:
    epoch: int = 0
    step: int = 0
    """Steps done in this epoch."""
    epoch_loss: float = 0.0
    epoch_rows: int = 0
    best_epoch: int = -1
    history: list[dict[str, float]] = field(default_factory=list)
    parts: int = 1
    """Parts that a batch is computed in: `training.accumulate`, and more once memory has run out."""


@dataclass(frozen=True)
class Trained:
    """How training went. The module holds the weights of the epoch that is kept."""

    best_epoch: int
    """The one that is kept, from 1."""
    history: list[dict[str, float]]
    """A row an epoch: epoch, train_loss, val_loss, val_<metric>, learning_rate."""
    val: dict[str, float]
    """Every val metric of that epoch, or of the soup."""
    soup: list[int] = field(default_factory=list)
    """The epochs whose weights were averaged, from 1, where `training.soup` asks for it."""
    cut: bool = False
    """Whether its time was over before its epochs were."""


def train(job: Job, console: Console) -> Trained:
    """Trains the module in place and leaves the best averaged weights in it.

    Raises:
        MmcliError: the loss is not finite.
    """
    seed_everything(job.seed)
    state = _State(job, console)
    config, position = job.config, state.position
    with job.compute.threading(), console.progress(job.label, job.last_epoch, position.epoch) as progress:
        while position.epoch < job.last_epoch and not state.out_of_patience():
            state.run_epoch()
            progress.advance(state.said())
    if state.cut():
        console.note(f"{job.label}: its share of --time-budget was over after {position.epoch} of {job.last_epoch} epochs")
    if job.watched and job.stop is None and position.epoch < config.epochs and job.watch(position.history):
        console.note(f"{job.label}: {job.watched} in {position.epoch} of {config.epochs} epochs: it ends here")
    return state.finish()


def rehearse(job: Job, console: Console, epochs: int | None, seconds: float | None) -> tuple[int, bool]:
    """Trains for some epochs or seconds, and leaves a checkpoint from which `train` goes on to the same bits; the module holds
    the best weights so far. Gives the epochs done, and whether the training is over."""
    seed_everything(job.seed)
    state, started = _State(job, console), time.monotonic()
    config, position = job.config, state.position
    last = config.epochs if epochs is None else min(epochs, config.epochs)
    with job.compute.threading(), console.progress(f"race: {job.label}", last, position.epoch) as progress:
        while position.epoch < last and not state.out_of_patience():
            if position.epoch and seconds is not None and time.monotonic() - started > seconds:
                break
            state.run_epoch()
            progress.advance(state.said())
    state.save()
    job.module.load_state_dict(state.best)
    return position.epoch, position.epoch >= config.epochs or state.out_of_patience()


class _State:
    """Everything that changes while training."""

    def __init__(self, job: Job, console: Console) -> None:
        self.job = job
        self.console = console
        self.position = _Position(parts=job.config.accumulate)
        if job.task.enrolled and not checkpoint.is_whole(job.folder / CHECKPOINT):
            begin(job)
        self.optimizer = optimizer_of(job)
        self.trainable = [p for p in job.module.parameters() if p.requires_grad]
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.average = {name: tensor.detach().clone() for name, tensor in job.module.state_dict().items()}
        self.moving = moving(job.module)
        self.best = {name: tensor.clone() for name, tensor in self.average.items()}
        self.soup = Soup(job.config.soup)
        self.steps_per_epoch = max(math.ceil(len(job.rows.splits["train"]) / job.config.batch_size), 1)
        self.saved_at = self.started = time.monotonic()
        self.rows_per_s = 0.0
        self.epoch_loss = torch.zeros((), device=job.compute.device)
        self._resume()
        if self.position.parts > 1 and not self.position.history and sees_parts(job):
            said = "BatchNorm layers see a part at a time, so the steps are not those of whole batches"
            console.warn(f"{job.label}: training.accumulate = {self.position.parts}: {said}")

    def run_epoch(self) -> None:
        """The epoch that is next, or the rest of it, and its validation."""
        job, position = self.job, self.position
        batches = batches_of(job, position.epoch)
        self.steps_per_epoch = len(batches)
        started, first, rows = time.monotonic(), position.step, 0
        job.step.train()
        for batch in job.rows.ahead(batches[first:]):
            self.take_step(batch)
            rows += len(batch)
            if self.time_share() >= 1:
                break
        self.rows_per_s = rows / (time.monotonic() - started)
        self.end_epoch()

    def said(self) -> str:
        """The last epoch in a few words."""
        primary = self.job.task.primary_metric
        return f"val {primary} {self.position.history[-1][f'val_{primary}']:.3f}, {self.rows_per_s:,.0f} rows/s"

    def take_step(self, batch: Batch) -> None:
        job, position = self.job, self.position
        factor = self._schedule()
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        loss = self._gradient(batch)
        self._clip()
        self.optimizer.step()
        self.epoch_loss += loss * len(batch)
        position.epoch_rows += len(batch)
        position.step += 1
        if position.step % AVERAGE_EVERY == 0:
            self._update_average(AVERAGE_EVERY)
        if time.monotonic() - self.saved_at >= job.config.checkpoint_every_s:
            self.save()

    def _gradient(self, batch: Batch) -> Tensor:
        """Leaves the gradient of the batch's mean loss, and gives that; in more parts from then on where memory runs out."""
        job = self.job
        while True:
            try:
                self.optimizer.zero_grad(set_to_none=True)
                return gradient(job, batch, self.position.parts)
            except RuntimeError as error:  # torch.OutOfMemoryError is one, and that of the CPU a plain one
                if not out_of_memory(error):
                    raise
                self.position.parts *= 2
                rows = -(-len(batch) // self.position.parts)
                if rows < 2:
                    raise MmcliError(
                        f"{job.label}: memory runs out even on two rows at a time",
                        "Use a smaller encoder, smaller rows (preprocess --image-size) or --set training.recompute=true.",
                    ) from None
            self.optimizer.zero_grad(set_to_none=True)
            if job.compute.device.type == "cuda":
                torch.cuda.empty_cache()
            same = "the same steps" + (", but for BatchNorm layers, which see a part at a time" if sees_parts(job) else "")
            said = f"batches are computed in {self.position.parts} parts of {rows} rows from here on, their gradients added up"
            self.console.warn(f"{job.label}: out of memory on {len(batch)} rows; {said}: {same}, slower")

    def end_epoch(self) -> None:
        job, position = self.job, self.position
        self._update_average(position.step % AVERAGE_EVERY)
        train_loss = float(self.epoch_loss) / max(position.epoch_rows, 1)
        if not math.isfinite(train_loss):
            raise MmcliError(
                f"{job.label}: the loss is {train_loss} in epoch {position.epoch + 1}",
                f"Try a lower rate: --set training.learning_rate={job.config.learning_rate / 4:g}, or --precision float32.",
            )
        val = self._validate()
        row = {"epoch": position.epoch + 1, "train_loss": train_loss, "val_loss": val["loss"]}
        row |= {f"val_{name}": val[name] for name in job.task.metrics}
        position.history.append({**row, "learning_rate": job.config.learning_rate * self._schedule(-1)})
        if self._is_better():
            position.best_epoch = position.epoch
            for name, tensor in self.average.items():
                self.best[name].copy_(tensor)
        self.soup.offer(position.epoch, self.average, self._rank)
        self.epoch_loss.zero_()
        position.epoch, position.step, position.epoch_rows = position.epoch + 1, 0, 0

    def out_of_patience(self) -> bool:
        """Whether neither the primary metric nor the loss on val has been better for `patience` epochs: where the metric stands
        still while the loss falls, something is being learnt."""
        position = self.position
        if not position.epoch:
            return False
        if self.job.stop is not None:
            return self.time_share() >= 1
        if self.job.watch(position.history) or self.time_share() >= 1:
            return True
        if self.job.config.keep == "last":
            return False
        losses = [row["val_loss"] for row in position.history]
        last = max(position.best_epoch, losses.index(min(losses)))
        return position.epoch - 1 - last >= self.job.config.patience

    def time_share(self) -> float:
        """How much of its time is over; 0 where it has all the time it wants."""
        return (time.monotonic() - self.started) / self.job.seconds if self.job.seconds else 0.0

    def cut(self) -> bool:
        """Whether time was over before the epochs were."""
        return self.time_share() >= 1 and self.position.epoch < self.job.last_epoch

    def finish(self) -> Trained:
        job, position = self.job, self.position
        kept = len(position.history) - 1 if self._last_will_do() else position.best_epoch
        weights = self.best if kept == position.best_epoch else self.average
        row = position.history[kept]
        val = {name: row[f"val_{name}"] for name in ("loss", *job.task.metrics)}
        epochs: list[int] = []
        if job.config.soup:
            weights, epochs = self.soup.cooked(kept, weights, lambda own: self._order(self._score(own)))
            val = self._score(weights) if len(epochs) > 1 else val
        job.module.load_state_dict(weights)
        enrol(job)
        job.step.eval()
        (job.folder / CHECKPOINT).unlink(missing_ok=True)
        _write_log(job.folder / LOG, position.history)
        return Trained(kept + 1, position.history, val, [epoch + 1 for epoch in epochs], self.cut())

    def _last_will_do(self) -> bool:
        """Whether the last epoch's weights are to be kept, and val cannot tell the best ones from them."""
        job = self.job
        if job.stop is not None:
            return True
        if job.config.keep == "best" or self.position.best_epoch == len(self.position.history) - 1:
            return False
        index = job.rows.splits["val"]
        outputs = []
        for weights in (self.best, self.average):
            job.module.load_state_dict(weights)
            outputs.append(self._glimpse(index))
        return job.task.gain(outputs[0], outputs[1], job.rows.targets[index]).low <= 0

    def _schedule(self, ahead: int = 0) -> float:
        """Linear warm-up, then a cosine to zero, by share of all steps, or of the time; of the next step, or one on or back."""
        config = self.job.config
        total = config.epochs * self.steps_per_epoch
        done = self.position.epoch * self.steps_per_epoch + self.position.step + ahead
        done = max(done, int(total * self.time_share()))
        warm = config.warmup * total
        if done < warm:
            return (done + 1) / (warm + 1)
        return 0.5 * (1 + math.cos(math.pi * min((done - warm) / max(total - warm, 1), 1.0)))

    @torch.no_grad()
    def _clip(self) -> None:
        """Scales the gradient down to `clip_norm` where it is longer: a fused optimizer does so while it steps."""
        longest = self.job.config.clip_norm
        if not longest:
            return
        if not self.job.compute.fused:
            nn.utils.clip_grad_norm_(self.trainable, longest)
            return
        gradients = [p.grad for p in self.trainable if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        self.optimizer.grad_scale = ((norm + 1e-6) / longest).clamp(min=1.0)  # type: ignore[attr-defined]

    @torch.no_grad()
    def _update_average(self, steps: int) -> None:
        """Exponential moving average over the last steps, its memory growing with the steps done (so that early ones are soon
        forgotten)."""
        if not steps:
            return
        done = self.position.epoch * self.steps_per_epoch + self.position.step
        decay = min(self.job.config.ema, done / (done + 10)) ** steps
        own = self.job.module.state_dict()
        torch._foreach_lerp_([self.average[name] for name in self.moving], [own[name] for name in self.moving], 1 - decay)
        for name, tensor in own.items():
            if not tensor.is_floating_point():
                self.average[name].copy_(tensor)

    def _validate(self) -> dict[str, float]:
        """Scores the averaged weights."""
        job, index = self.job, self.job.rows.splits["val"]
        if job.compute.compiled:  # its graphs know the weights by where they lie
            raw = {name: tensor.detach().clone() for name, tensor in job.module.state_dict().items()}
            scores = self._score(self.average)
            job.module.load_state_dict(raw)
            return scores
        exchange(job.module, self.average)
        scores = job.task.score(self._glimpse(index), job.rows.targets[index])
        exchange(job.module, self.average)
        return scores

    def _score(self, weights: dict[str, Tensor]) -> dict[str, float]:
        """Scores weights on val, and leaves them in the module."""
        job, index = self.job, self.job.rows.splits["val"]
        job.module.load_state_dict(weights)
        return job.task.score(self._glimpse(index), job.rows.targets[index])

    def _glimpse(self, index: Tensor) -> Any:
        """Outputs for the rows `index`, as they are scored while training goes on."""
        enrol(self.job)
        return self.job.task.outputs.glimpse(outputs_of(self.job, index))

    def _order(self, val: Mapping[str, float], prefix: str = "") -> Rank:
        """More is better: the primary metric, then the loss."""
        task = self.job.task
        sign = 1 if task.primary_higher_is_better else -1
        return sign * val[f"{prefix}{task.primary_metric}"], -val[f"{prefix}loss"]

    def _rank(self, epoch: int) -> Rank:
        return self._order(self.position.history[epoch], "val_")

    def _is_better(self) -> bool:
        """Whether the epoch just ended is the best, by the smoothed primary metric and then by the loss."""
        history, best = self.position.history, self.position.best_epoch
        if best < 0:
            return True
        now, before = self._smoothed(len(history) - 1), self._smoothed(best)
        return now > before or (now == before and history[-1]["val_loss"] < history[best]["val_loss"])

    def _smoothed(self, epoch: int) -> float:
        """The primary metric's mean over an epoch and the two before it: a stroke of luck on few val rows weighs a third."""
        task, window = self.job.task, self.position.history[max(epoch - 2, 0) : epoch + 1]
        sign = 1 if task.primary_higher_is_better else -1
        return round(sign * sum(row[f"val_{task.primary_metric}"] for row in window) / len(window), 9)

    def save(self) -> None:
        """Writes the checkpoint and the log."""
        self.position.epoch_loss = float(self.epoch_loss)
        groups = {
            "module": self.job.module.state_dict(),
            "average": self.average,
            "best": self.best,
            "soup": self.soup.tensors(),
            "optimizer": checkpoint.optimizer_tensors(self.optimizer),
            "random": checkpoint.random_state(self.job.compute.device),
        }
        checkpoint.save(self.job.folder / CHECKPOINT, groups, asdict(self.position))
        _write_log(self.job.folder / LOG, self.position.history)
        self.saved_at = time.monotonic()

    def _resume(self) -> None:
        file = self.job.folder / CHECKPOINT
        try:
            saved = checkpoint.load(file)
        except ValueError as error:
            self.console.warn(f"{self.job.label}: {file} is damaged ({error}): it is thrown away, and training begins anew")
            file.unlink()
            return
        if saved is None:
            return
        groups, values = saved
        if not checkpoint.fits(groups["module"], self.average):
            self.console.warn(f"{self.job.label}: {file} is of another network: it is thrown away, and training begins anew")
            file.unlink()
            return
        self.position = _Position(**values)
        self.epoch_loss.fill_(self.position.epoch_loss)
        self.job.module.load_state_dict(groups["module"])
        for name in self.average:
            self.average[name].copy_(groups["average"][name])
            self.best[name].copy_(groups["best"][name])
        self.soup.restore(groups.get("soup", {}), self.average, self._rank)
        checkpoint.restore_optimizer(self.optimizer, groups.get("optimizer", {}))
        checkpoint.restore_random_state(groups["random"], self.job.compute.device)


def _write_log(path: Path, history: list[dict[str, Any]]) -> None:
    if not history:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, history[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in history)
    write_atomic(path, text.getvalue().encode())
