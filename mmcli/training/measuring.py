"""Chooses how to compute by a short measurement: precision, memory format, optimizer, threads, compilation.

Starts from what the device is known to like, tries one change after the other on a few steps of the job itself, and keeps what
is faster. What was measured is remembered for the machine (device, cores, version of torch) and the shapes of the job, so that
the same command computes the same bits the next time, and measures once; each job's own choice lies in its folder besides, for
the run that goes on after a kill. The module is left as it was.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcli.artifacts import store
from mmcli.reporting.console import Console
from mmcli.training.config import ComputeConfig
from mmcli.training.device import Compute
from mmcli.training.job import Job
from mmcli.training.steps import gradient, optimizer_of, out_of_memory, prepared_for

WORTH = 1.05
"""How much faster a change must be to be made."""
SHORT_S = 120.0
"""Training that takes no longer than this is not measured: the device's known ways are taken."""
CHOICE = "compute.json"
"""Where a job's folder says what was chosen for it."""
COMPILE_S = 120.0
"""Training that takes no longer than this is not compiled: that alone takes a minute."""


def tuned(job: Job, console: Console, wanted: ComputeConfig | None = None) -> Job:
    """The job with the way to compute that is fastest here; what `wanted` says is not measured but taken."""
    wanted = wanted or ComputeConfig()
    start = _start(job.compute, wanted)
    changes = list(_changes(job, start, wanted))
    key = _key(job, start, wanted)
    note = job.folder / CHOICE
    known = _known(_read(note), key) or _known(_remembered(), key)
    if known:
        return prepared_for(replace(job, compute=replace(start, **known)))
    if not changes or len(job.rows.splits["train"]) < job.config.batch_size:
        return prepared_for(replace(job, compute=start))
    with _unchanged(job.module):
        chosen, said = _measure(replace(job, compute=start), changes)
    if said:  # what was too short to measure says nothing of longer training
        _remember(key, chosen)
    store.write_atomic(note, json.dumps({key: _signed(key, chosen)}).encode())  # a run that was killed goes on as it began
    if said:
        console.detail(f"{job.label}: {chosen.described()} ({said})")
    return prepared_for(replace(job, compute=chosen))


def _start(compute: Compute, wanted: ComputeConfig) -> Compute:
    """What was asked for, and else what the device is known to like."""
    return replace(
        compute,
        channels_last=wanted.memory_format != "contiguous",
        fused=wanted.optimizer == "fused" or (wanted.optimizer == "auto" and compute.device.type in {"cpu", "cuda"}),
        compiled=wanted.compile == "on",
        tf32=compute.tf32 if wanted.tf32 == "auto" or compute.device.type != "cuda" else wanted.tf32 == "on",
        threads=wanted.threads or compute.threads,
    )


def _changes(job: Job, start: Compute, wanted: ComputeConfig) -> Iterator[dict[str, Any]]:
    """What else may be tried, one change at a time."""
    if not job.compute.precision_given and (start.precision == "bfloat16" or start.device.type == "cpu"):
        yield {"precision": "float32" if start.precision == "bfloat16" else "bfloat16"}
    if wanted.memory_format == "auto" and any(p.dim() == 4 for p in job.module.parameters()):
        yield {"channels_last": not start.channels_last}
    if wanted.optimizer == "auto" and start.fused:
        yield {"fused": False}
    if not wanted.threads and start.device.type == "cpu" and start.threads > 1:
        yield {"threads": start.threads // 2}
    if wanted.compile == "auto" and start.device.type == "cuda":
        yield {"compiled": True}
        if job.rows.lengths is None:  # a graph is for one shape
            yield {"compiled": True, "graphs": True}


def others_compute(seconds: float = 0.1) -> bool:
    """Whether others keep a third of the cores busy. Only Linux tells."""
    before = _idle_share()
    if before is None:
        return False
    time.sleep(seconds)
    after = _idle_share()
    assert after is not None
    spent = after[1] - before[1]
    return spent > 0 and (after[0] - before[0]) / spent < 2 / 3


def _idle_share() -> tuple[int, int] | None:
    """Idle and all ticks of all cores since the start of the machine."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    return ticks[3] + ticks[4], sum(ticks)


def _measure(job: Job, changes: list[dict[str, Any]]) -> tuple[Compute, str]:
    """The fastest found, and how it compares; nothing is said, and the start kept, where the whole job is short, where others
    keep the cores busy (what looks faster then is luck, and would be remembered), or where memory does not hold a whole batch:
    training computes that in parts."""
    steps = len(job.rows.splits["train"]) / job.config.batch_size * job.config.epochs
    try:
        chosen, best = job.compute, _seconds_a_step(job, job.compute)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        return job.compute, ""
    if best * steps < SHORT_S:
        return chosen, ""
    if job.compute.device.type == "cpu" and others_compute():
        return chosen, ""
    first, tried = best, []
    for change in changes:
        if change.get("compiled") and best * steps < COMPILE_S:
            continue
        other = replace(chosen, **change)
        try:
            seconds = _seconds_a_step(job, other)
        except RuntimeError as error:  # a kernel or a compiler that this machine lacks
            tried.append(f"{other.difference(chosen)} does not work here ({str(error).strip().splitlines()[0][:60]})")
            continue
        tried.append(f"{other.difference(chosen)} {best / seconds:.2f} times")
        if seconds * WORTH < best:
            chosen, best = other, seconds
    return chosen, f"measured; {', '.join(tried)}; {first / best:.2f} times the first try"


def _seconds_a_step(job: Job, compute: Compute) -> float:
    """The fastest of a few steps, after one or two that warm up."""
    job = prepared_for(replace(job, compute=compute))
    optimizer = optimizer_of(job)
    generator = torch.Generator().manual_seed(0)
    train = job.rows.splits["train"]
    fastest, spent = float("inf"), 0.0
    job.step.train()
    with job.compute.threading():
        for number in range(8):
            index = train[torch.randint(len(train), (job.config.batch_size,), generator=generator).to(train.device)]
            started = time.perf_counter()
            _step(job, optimizer, index)
            seconds = time.perf_counter() - started
            spent += seconds
            if number >= 2 or (number >= 1 and spent > 1.0):
                fastest = min(fastest, seconds)
            if number >= 2 and spent > 1.0:
                break
    return fastest


def _step(job: Job, optimizer: torch.optim.Optimizer, index: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    gradient(job, job.rows.gather(index), job.config.accumulate)
    optimizer.step()
    if job.compute.device.type == "cuda":
        torch.cuda.synchronize(job.compute.device)


@contextmanager
def _unchanged(module: nn.Module) -> Iterator[None]:
    """Puts a module's weights and statistics back afterwards."""
    before = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    try:
        yield
    finally:
        module.load_state_dict(before)
        module.zero_grad(set_to_none=True)


def _key(job: Job, start: Compute, wanted: ComputeConfig) -> str:
    compute, targets = job.compute, job.rows.targets
    machine = [str(compute), torch.__version__, torch.get_num_threads(), os.cpu_count(), compute.precision_given]
    machine += ["TF32"] if start.tf32 else []
    shapes = [[name, list(p.shape), p.requires_grad] for name, p in job.module.named_parameters()]
    said = wanted.model_dump(exclude={"tf32"})
    inputs = [list(getattr(column, "values", targets).shape[1:]) for column in job.rows.inputs.values()]
    return store.digest([machine, shapes, inputs, job.config.batch_size, sorted(job.rows.augment), said])


def cache_file() -> Path:
    """Where choices are remembered: `MMCLI_CACHE`, by default in the user's cache folder."""
    base = os.environ.get("MMCLI_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "mmcli"
    return Path(base) / "compute.json"


def _remembered() -> dict[str, Any]:
    return _read(cache_file())


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _values(compute: Compute) -> dict[str, Any]:
    values = asdict(compute)
    return {name: values[name] for name in ("precision", "channels_last", "fused", "compiled", "graphs", "threads")}


def _signed(key: str, compute: Compute) -> dict[str, Any]:
    """A choice with the digest by which it is known to be whole."""
    values = _values(compute)
    return {"values": values, "sha256": store.digest([key, values])}


def _known(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The choice that was made for that key; empty where there is none, or it is damaged: then it is made again."""
    entry = found.get(key)
    entry = entry if isinstance(entry, dict) else {}
    values = entry.get("values")
    return values if isinstance(values, dict) and entry.get("sha256") == store.digest([key, values]) else {}


def _remember(key: str, compute: Compute) -> None:
    text = json.dumps({**_remembered(), key: _signed(key, compute)}, indent=1)
    try:
        store.write_atomic(cache_file(), text.encode(), flush=False)
    except OSError:  # a home that cannot be written to: measured again next time
        return
