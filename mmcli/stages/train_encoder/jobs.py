"""An encoder and its head as they begin, and the job that trains them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from mmcli.artifacts import store
from mmcli.encoders import Encoder
from mmcli.jobs import encoder as encoder_job
from mmcli.jobs import warmstart
from mmcli.layers import recomputing
from mmcli.models.networks import ColumnModel
from mmcli.models.recipe import build_answer, build_encoder
from mmcli.signals import Source
from mmcli.stages.train_encoder.candidates import Bench, Candidate
from mmcli.training import checkpoint, device, fitting, measuring
from mmcli.training.config import ComputeConfig
from mmcli.training.job import Job
from mmcli.training.loop import CHECKPOINT

BATCH_SIZE = "batch_size"


def job_for(candidate: Candidate, bench: Bench, folder: Path) -> tuple[ColumnModel, Job]:
    """The encoder and its head as they begin, and how they are trained."""
    name, column, dataset = candidate.architecture, candidate.column, bench.dataset
    seed = device.derive_seed(bench.context.seed, column, name)
    device.seed_everything(seed)
    encoder = build_encoder(name, candidate.config.model_dump(), dataset.input(column).spec)
    network = ColumnModel(encoder, build_answer(candidate.head, dataset.task, encoder.dim))
    encoder.start()
    network.to(bench.compute.device)
    prepared = encoder.prepare(dataset.column(column))
    encoder.fit(prepared.select(dataset.splits["train"]))
    encoder.apart = True
    if bench.options.unlabelled:
        _warm(candidate, encoder, prepared, seed, folder, bench)
    if candidate.training.recompute:
        recomputing.recompute(network.encoder)
    job = encoder_job.job(
        column,
        network,
        prepared,
        dataset,
        candidate.training,
        bench.compute,
        seed=seed,
        folder=folder,
        label=candidate.name,
    )
    if bench.options.batch_size == 0:
        job = _with_largest_batch(job, bench)
    wanted = ComputeConfig.of(bench.context.settings.for_stage("train-encoder"))
    if bench.context.threads:
        wanted = wanted.model_copy(update={"threads": bench.context.threads})
    return network, measuring.tuned(job, bench.context.console, wanted)


def _with_largest_batch(job: Job, bench: Bench) -> Job:
    """The job with as large a batch as fits, and a learning rate to match; once found, it holds for the job's folder."""
    note = job.folder / BATCH_SIZE
    told = note.read_bytes() if note.is_file() else b""
    if told.isdigit() and int(told):
        rows = int(told)
    else:
        rows, why = fitting.largest_batch(job)
        store.write_atomic(note, str(rows).encode())
        bench.context.console.note(f"{job.label}: batches of {rows:,} rows ({why})")
    rate = job.config.learning_rate * math.sqrt(rows / job.config.batch_size)
    return replace(job, config=job.config.model_copy(update={"batch_size": rows, "learning_rate": rate}))


def _warm(candidate: Candidate, encoder: Encoder, prepared: Source, seed: int, folder: Path, bench: Bench) -> None:
    reason = warmstart.unfit(encoder, bench.dataset.input(candidate.column).spec.kind)
    if reason:
        bench.context.console.note(f"{candidate.name}: no warm start, {reason}")
    elif not checkpoint.is_whole(folder / CHECKPOINT):
        warmstart.warm(
            encoder,
            candidate.column,
            prepared,
            bench.dataset,
            candidate.training,
            bench.compute,
            seed=seed,
            folder=folder / "warm-start",
            console=bench.context.console,
            label=candidate.name,
        )
