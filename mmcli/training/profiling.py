"""Where the time of a training step goes: a trace of some steps by the torch profiler, and its sums in words."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import DeviceType, ProfilerActivity, profile, record_function

from mmcli.artifacts.store import write_atomic
from mmcli.reporting import strict
from mmcli.training.data import shuffled
from mmcli.training.job import Job
from mmcli.training.steps import optimizer_of

TRACE = "trace.json"
SUMMARY = "profile.json"
PARTS = ("data", "waiting", "forward", "backward", "optimizer")
"""`waiting` is for a batch that comes from the host or the disk."""
WARM, STEPS = 3, 12
_SYNCHRONIZING = ("cudaDeviceSynchronize", "cudaStreamSynchronize", "cudaEventSynchronize")


@dataclass(frozen=True)
class Profile:
    """What the steps took."""

    seconds_a_step: float
    rows_a_step: int
    shares: dict[str, float]
    """Part of the step -> share of the time, 0 to 1; they sum to one."""
    operations: list[tuple[str, float]]
    """The costliest operations of all, each with its share of the time on its own; on a CUDA device its kernels'."""

    @property
    def words(self) -> str:
        """In two sentences."""
        parts = sorted(self.shares.items(), key=lambda item: -item[1])
        said = ", ".join(f"{name} {share:.0%}" for name, share in parts)
        costly = ", ".join(f"{name} {share:.0%}" for name, share in self.operations[:4])
        rate = self.rows_a_step / self.seconds_a_step
        return (
            f"a step of {self.rows_a_step} rows takes {self.seconds_a_step * 1e3:.1f} ms ({rate:,.0f} rows/s): {said}; {costly}"
        )


def profiled(job: Job, folder: Path) -> Profile:
    """Takes some steps of the job and writes TRACE (for chrome://tracing or ui.perfetto.dev) and SUMMARY into `folder`.

    The module is left as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = {name: tensor.detach().clone() for name, tensor in job.module.state_dict().items()}
    optimizer = optimizer_of(job)
    batches = shuffled(job.rows.splits["train"], job.config.batch_size, job.seed, 0, job.rows.lengths)
    wanted = [batches[step % len(batches)] for step in range(WARM + STEPS)]
    activities = [ProfilerActivity.CPU]
    if job.compute.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    job.step.train()
    source = job.rows.ahead(wanted)
    with job.compute.threading():
        for _ in range(WARM):
            _step(job, source, optimizer)
        found = profile(activities=activities, acc_events=True)  # of one cycle all the same; without, torch 2.11 warns of more
        with _without_words():
            found.start()
        for _ in range(STEPS):
            with record_function("step"):
                _step(job, source, optimizer)
        with _without_words():
            found.stop()
    job.module.load_state_dict(before)
    job.module.zero_grad(set_to_none=True)
    with _without_words():
        found.export_chrome_trace(str(folder / TRACE))
    summary = _summarised(found, sum(map(len, wanted[WARM:])) / STEPS, job.compute.device)
    write_atomic(folder / SUMMARY, strict.text({**asdict(summary), "said": summary.words}, indent=1).encode())
    return summary


@contextmanager
def _without_words() -> Iterator[None]:
    """Without what the profiler's library writes past Python to standard error."""
    sys.stderr.flush()
    try:
        before = os.dup(2)
    except OSError:  # there is none
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _step(job: Job, source: Iterator[Any], optimizer: torch.optim.Optimizer) -> None:
    """One step as the loop takes it, its parts marked."""
    with _marked("data" if job.rows.resident else "waiting", job):
        batch = next(source)
    with _marked("data", job):
        batch = job.rows.varied(batch)
    optimizer.zero_grad(set_to_none=True)
    with _marked("forward", job), job.compute.autocast():
        loss = job.step(batch)
    with _marked("backward", job):
        loss.backward()
    with _marked("optimizer", job):
        optimizer.step()


@contextmanager
def _marked(part: str, job: Job) -> Iterator[None]:
    with record_function(part):
        yield
        if job.compute.device.type == "cuda":  # so that a part's work on the device counts as its own
            torch.cuda.synchronize(job.compute.device)


def _summarised(found: profile, rows: float, device: torch.device) -> Profile:
    """Parts wait for the device, so that their time on the host is all that they take. An operation only starts its kernels
    there: on a CUDA device it costs what these take."""
    averages = {event.key: event for event in found.key_averages() if event.device_type == DeviceType.CPU}
    total = max(averages["step"].cpu_time_total, 1e-9)
    spent = {part: averages[part].cpu_time_total for part in PARTS if part in averages}
    spent["the loop"] = max(total - sum(spent.values()), 0.0)
    cost = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    own = [(name, getattr(event, cost)) for name, event in averages.items() if name not in {*PARTS, "step"}]
    own = [(name, time) for name, time in own if name not in _SYNCHRONIZING and not name.startswith("ProfilerStep")]
    costly = sorted(own, key=lambda item: -item[1])[:10]
    return Profile(
        seconds_a_step=total / STEPS / 1e6,
        rows_a_step=round(rows),
        shares={name: time / total for name, time in spent.items()},
        operations=[(name, time / total) for name, time in costly],
    )
