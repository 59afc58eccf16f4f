"""An encoder and its head as they begin, and the job that trains them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from mmcli.artifacts import store
from mmcli.data import memory
from mmcli.encoders import Backbone, Encoder
from mmcli.jobs import aligning, warmstart
from mmcli.jobs import encoder as encoder_job
from mmcli.jobs import shared as shared_job
from mmcli.layers import recomputing
from mmcli.models.columns import ColumnModel, Pair, SharedModel
from mmcli.models.recipe import build_answer, build_encoder, build_fusion
from mmcli.models.towers import TowerModel
from mmcli.pretrained import weights as pretrained
from mmcli.selection import race
from mmcli.signals import Column, Source
from mmcli.stages.train_encoder.candidates import Bench, Candidate
from mmcli.training import checkpoint, device, fitting, measuring
from mmcli.training.config import ComputeConfig
from mmcli.training.job import Job
from mmcli.training.loop import CHECKPOINT
from mmcli.vectors import plain

BATCH_SIZE = "batch_size"
TIMED_ROWS = 32
"""Rows by which it is told how long a network takes for all."""


def job_for(candidate: Candidate, bench: Bench, folder: Path) -> tuple[ColumnModel | SharedModel | TowerModel, Job]:
    """The encoder and its head, or those of all that read it, as they begin, and how they are trained."""
    if bench.dataset.task.aligns_columns:
        return _among_others(candidate, bench, folder)
    if len(bench.dataset.readers(candidate.column)) > 1:
        return _shared(candidate, bench, folder)
    name, column, dataset = candidate.architecture, candidate.column, bench.dataset
    seed = device.derive_seed(bench.context.seed, column, name)
    device.seed_everything(seed)
    encoder = build_encoder(name, candidate.config.model_dump(), dataset.input(column).spec)
    network = ColumnModel(encoder, build_answer(candidate.head, dataset.task, encoder.dim))
    encoder.start()
    network.to(bench.compute.device)
    prepared = _prepared(encoder, [column], candidate, bench)[column]
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
    return network, _computed(job, bench)


def _shared(candidate: Candidate, bench: Bench, folder: Path) -> tuple[SharedModel, Job]:
    """The same where several inputs read the encoder: it learns its statistics, and is trained, on all of them."""
    column, dataset, compute = candidate.column, bench.dataset, bench.compute
    seed = device.derive_seed(bench.context.seed, column, candidate.architecture)
    device.seed_everything(seed)
    readers = dataset.readers(column)
    encoder = build_encoder(candidate.architecture, candidate.config.model_dump(), dataset.input(column).spec)
    heads = [build_answer(candidate.head, dataset.task, encoder.dim) for _ in readers]
    network = SharedModel(encoder, readers, heads, Pair() if dataset.task.compares_columns else None)
    encoder.start()
    network.to(compute.device)
    prepared = _learnt(encoder, readers, candidate, bench, f"{len(readers)} inputs share it")
    job = shared_job.job(
        network, prepared, dataset, candidate.training, compute, seed=seed, folder=folder, label=candidate.name
    )
    return network, _computed(job, bench)


def _among_others(candidate: Candidate, bench: Bench, folder: Path) -> tuple[TowerModel, Job]:
    """The same where columns belong together: the encoder learns from what is plain of the other inputs."""
    column, dataset, compute = candidate.column, bench.dataset, bench.compute
    seed = device.derive_seed(bench.context.seed, column, candidate.architecture)
    device.seed_everything(seed)
    readers, task = dataset.readers(column), dataset.task
    encoder = build_encoder(candidate.architecture, candidate.config.model_dump(), dataset.input(column).spec)
    encoder.start()
    others = [name for name in task.columns if name not in readers]
    dims = {**dict.fromkeys(readers, encoder.dim), **dict.fromkeys(others, plain.AXES)}
    align = build_fusion(task.default_fusion, {}, dims, task, [readers])
    network = TowerModel(encoder, readers, align, build_answer(candidate.head, task, align.dim))
    network.to(compute.device)
    prepared = _learnt(encoder, readers, candidate, bench, "all its rows are learnt from")
    job = aligning.job(network, prepared, dataset, candidate.training, compute, seed=seed, folder=folder, label=candidate.name)
    return network, _computed(job, bench)


def _learnt(encoder: Encoder, readers: Sequence[str], candidate: Candidate, bench: Bench, no_start: str) -> dict[str, Source]:
    """What the encoder makes ready of each of its readers, once it has learnt its statistics on all of them; `no_start` is why
    there is no warm start."""
    dataset = bench.dataset
    prepared = _prepared(encoder, readers, candidate, bench)
    taught = [own.select(dataset.splits["train"]) for own in prepared.values()]
    held = [own for own in taught if isinstance(own, Column)]
    encoder.fit(Column.concatenate(held) if len(held) == len(taught) else taught[0])
    encoder.apart = True
    if bench.options.unlabelled:
        bench.context.console.note(f"{candidate.name}: no warm start, {no_start}")
    if candidate.training.recompute:
        recomputing.recompute(encoder)
    return prepared


def _prepared(encoder: Encoder, readers: Sequence[str], candidate: Candidate, bench: Bench) -> dict[str, Source]:
    """What the encoder makes ready of each of its readers: where its network does not train, or only in its last blocks, what
    the rest of it makes of them, once for the race, its folds and all that follows."""
    columns: dict[str, Source] = {reader: bench.dataset.column(reader) for reader in readers}
    if isinstance(encoder, Backbone) and encoder.frozen:
        part = "its network"
        return {reader: _once(encoder.prepare, column, part, reader, candidate, bench) for reader, column in columns.items()}
    columns = {reader: encoder.prepare(column) for reader, column in columns.items()}
    if not (isinstance(encoder, Backbone) and _split(encoder, columns, candidate, bench)):
        return columns
    part = "the frozen part of its network"
    return {reader: _once(encoder.keep, column, part, reader, candidate, bench) for reader, column in columns.items()}


def _once(
    make: Callable[[Source], Source], column: Source, what: str, reader: str, candidate: Candidate, bench: Bench
) -> Source:
    """What is made of a column, unless it was before."""
    key = (candidate.fingerprint, reader)
    if key not in bench.computed:
        bench.context.console.detail(f"{candidate.name}: {what} runs once over {int(column.present.sum()):,} rows")
        bench.computed[key] = make(column)
    return bench.computed[key]


def _split(encoder: Backbone, prepared: Mapping[str, Source], candidate: Candidate, bench: Bench) -> bool:
    """Splits a network whose frozen part may run once. What was decided holds for all that is trained of a candidate, whatever
    memory is free later: a winner trains as it raced."""
    if not encoder.config.tune.startswith("last-"):
        return False
    if candidate.fingerprint not in bench.cuts:
        all_train = _tell_too_many(encoder, candidate, bench)
        why = _why_whole(encoder, prepared, candidate, bench)
        if why and not all_train:
            bench.context.console.detail(f"{candidate.name}: {why}, so its frozen part runs in every epoch")
        bench.cuts[candidate.fingerprint] = None if encoder.splice is None else encoder.splice.cut
    elif (cut := bench.cuts[candidate.fingerprint]) is not None:
        encoder.split_again(cut)
    return encoder.splice is not None


def _tell_too_many(encoder: Backbone, candidate: Candidate, bench: Bench) -> bool:
    """Says where more blocks are to train than a network has, so that nothing of it stays as it is; whether that is so."""
    blocks, last = len(pretrained.blocks(encoder.body)), int(encoder.config.tune.removeprefix("last-"))
    if last <= blocks:
        return False
    has = f"{blocks or 'no'} block{'s' * (blocks != 1)}"
    bench.context.console.warn(f"{candidate.name}: the network has {has}, so that with --tune last-{last} all of it trains")
    return True


def _why_whole(
    encoder: Backbone, prepared: Mapping[str, Source], candidate: Candidate, bench: Bench, share: float = 1.0
) -> str:
    """Why the frozen part of a network cannot run once, in words; empty where it can, after which the network is split: what it
    reads does not vary while it trains, it can be cut, and memory holds what it makes of all rows, which are so many times
    those that are `prepared`."""
    training, kind = candidate.training, bench.dataset.input(candidate.column).spec.kind
    if training.mix != "none" and kind in encoder_job.MIXABLE:
        return "rows are mixed (training.mix)"
    if encoder_job.variation(candidate.column, encoder, bench.dataset, training.augment) is not None:
        return "what it reads varies (--augment none would end that)"
    if bench.options.unlabelled:
        return "it starts warm (--unlabelled)"
    if not encoder.split(next(iter(prepared.values()))):
        return "it cannot be cut where its blocks begin to train"
    size = share * sum(encoder.kept_bytes(column) for column in prepared.values())
    held = sum(own.nbytes for own in bench.computed.values() if isinstance(own, Column))
    if size + held <= memory.features_budget():
        return ""
    encoder.join()
    beside = f", beside the {held / 2**20:,.2f} MiB of others" if held else ""
    return f"what its frozen part makes of all rows would be {size / 2**20:,.2f} MiB{beside}, more than memory is to hold"


def seconds_to_read(candidate: Candidate, bench: Bench) -> tuple[float, str]:
    """How long a network that does not train, or the part of it that does not, takes to run over all rows of an input, by some
    of them; 0 for all others. And why that part has to run in every epoch, in words, where it does."""
    tune = getattr(candidate.config, "tune", "")
    if not candidate.races or not (tune == "head" or tune.startswith("last-")):
        return 0.0, ""
    dataset, column = bench.dataset, bench.dataset.column(candidate.column)
    encoder = build_encoder(candidate.architecture, candidate.config.model_dump(), dataset.input(candidate.column).spec)
    assert isinstance(encoder, Backbone)
    encoder.start()
    encoder.to(bench.compute.device)
    here = column.present.nonzero()[:, 0].cpu()
    some = here[torch.linspace(0, len(here) - 1, min(TIMED_ROWS, len(here))).long()]
    rows = sum(int(dataset.column(reader).present.sum()) for reader in dataset.readers(candidate.column))
    share = rows / max(len(some), 1)
    make: Callable[[Source], Source] = encoder.prepare
    read: Source = column.select(some)
    if not encoder.frozen:
        make, read = encoder.keep, encoder.prepare(read)
        if why := _why_whole(encoder, {candidate.column: read}, candidate, bench, share):
            return 0.0, why
    make(read.select(torch.arange(min(2, len(some)))))  # what only the first call takes
    started = time.monotonic()
    make(read)
    return (time.monotonic() - started) * share, ""


def seconds_to_tune(candidate: Candidate, reading: float, bench: Bench) -> float:
    """About how long the last blocks of a network then take to train in a race, the frozen ones having run once for `reading`:
    they are as many as its name says, and a step costs three times what running them does."""
    spec = bench.dataset.input(candidate.column).spec
    encoder = build_encoder(candidate.architecture, candidate.config.model_dump(), spec)
    assert isinstance(encoder, Backbone)
    blocks, last = len(pretrained.blocks(encoder.body)), int(candidate.config.tune.removeprefix("last-"))
    share = len(bench.dataset.splits["train"]) / max(int(bench.dataset.column(candidate.column).present.sum()), 1)
    epochs = max(round(candidate.training.epochs * race.DEFAULT_SHARE), 1)
    return 3 * reading * last / max(blocks - last, 1) * share * epochs


def _computed(job: Job, bench: Bench) -> Job:
    """The job with what is measured or told of how to compute."""
    if bench.options.batch_size == 0:
        job = _with_largest_batch(job, bench)
    wanted = ComputeConfig.of(bench.context.settings.for_stage("train-encoder"))
    if bench.context.threads:
        wanted = wanted.model_copy(update={"threads": bench.context.threads})
    return measuring.tuned(job, bench.context.console, wanted)


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
