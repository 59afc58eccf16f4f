"""From a candidate to its artifact: weights, embeddings of every row, and what was measured on the way."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcli.artifacts import store, tensors
from mmcli.artifacts.disk import WRITING
from mmcli.artifacts.lock import locked
from mmcli.artifacts.store import Artifact, Draft
from mmcli.data.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.errors import BusyError
from mmcli.jobs import fusion as fusion_job
from mmcli.jobs import solving
from mmcli.jobs.shared import outputs_alone
from mmcli.layers.blocks import bounded_tokens
from mmcli.models import loading
from mmcli.models.columns import ColumnModel, SharedModel
from mmcli.models.towers import TowerModel
from mmcli.pretrained import licences
from mmcli.reporting.metrics import shown
from mmcli.signals import Features
from mmcli.stages.train_encoder.candidates import Bench, Candidate, short_name
from mmcli.stages.train_encoder.jobs import BATCH_SIZE, job_for
from mmcli.stages.train_encoder.race import NOTE, as_raced, let_race, race_of, track_of
from mmcli.stages.train_encoder.steps import say_too_short
from mmcli.training import checkpoint, device
from mmcli.training.answering import outputs_of
from mmcli.training.data import LONG_ROWS
from mmcli.training.job import Job
from mmcli.training.loop import CHECKPOINT, LOG, train
from mmcli.training.measuring import CHOICE

PROFILES = "profiles"


def profile(candidate: Candidate, bench: Bench) -> None:
    """Traces some steps as training takes them, into `profiles/<input>/<architecture>/`."""
    from mmcli.training import profiling

    folder = bench.context.root / PROFILES / candidate.name.partition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    _, job = job_for(candidate, bench, folder)
    found = profiling.profiled(job, folder)
    bench.context.console.note(f"{candidate.name}: {found.words}\nthe trace, for ui.perfetto.dev: {folder / profiling.TRACE}")


def train_input(candidates: Sequence[Candidate], bench: Bench) -> list[Artifact]:
    """Races an input's candidates, and trains those that are not behind into their artifacts."""
    started = time.monotonic()
    record = let_race(candidates, bench)
    kept = [as_raced(own, record) for own in candidates if not record or own.architecture in record["kept"]]
    for candidate in kept if bench.options.profile else ():
        profile(candidate, bench)
    made = []
    for place, candidate in enumerate(kept):
        left = bench.seconds and max(bench.seconds - (time.monotonic() - started), 1.0) / (len(kept) - place)
        made.append(make(candidate, record, replace(bench, seconds=left)))
        bench.forget(candidate)
    bench.computed.clear()
    _end_race(candidates[0].column, bench)
    return made


def _end_race(column: str, bench: Bench) -> None:
    """Takes away what a race left, whose entrants are all made or behind."""
    raced = race_of(bench.context.root, column)
    if raced.exists():
        with suppress(BusyError), locked(bench.context.root, raced.relative_to(bench.context.root).as_posix()):
            shutil.rmtree(raced, ignore_errors=True)


def make(candidate: Candidate, record: Mapping[str, Any], bench: Bench) -> Artifact:
    context, dataset = bench.context, bench.dataset
    if not context.force and (found := store.up_to_date(context.root, candidate.name, candidate.fingerprint)):
        context.console.detail(f"{candidate.name}: up to date")
        return found
    readers = dataset.readers(candidate.column)
    with store.writing(
        context.root,
        candidate.name,
        kind="encoder",
        command=context.command or shlex.join(["mmcli", "train-encoder", candidate.column, "--arch", candidate.architecture]),
        config={
            "column": candidate.column,
            "architecture": candidate.architecture,
            "encoder": candidate.config.model_dump(),
            "head": candidate.head,
            "training": candidate.training.model_dump(),
            "folds": bench.options.folds,
            **({"readers": readers} if len(readers) > 1 else {}),
            "precision": bench.compute.precision,
        },
        seed=context.seed,
        parents=dataset.artifact.parent(candidate.column),
        fingerprint=candidate.fingerprint,
        anew=context.force,
    ) as draft:
        if candidate.races and record:
            _take_over(track_of(race_of(context.root, candidate.column), candidate), draft)
        _train(candidate, bench, draft)
        if record and candidate.races:
            draft.metrics["race"] = dict(record)
            draft.measured.add("race")
        score = f"val {dataset.task.primary_metric} {shown(draft.metrics['val'][dataset.task.primary_metric])}"
        context.console.detail(
            f"{candidate.column}, {short_name(candidate.architecture)}: {score} in {draft.metrics['seconds']:.1f} s"
        )
    return loading.read_encoder(context.root, candidate.column, candidate.architecture)


def _take_over(track: Path, draft: Draft) -> None:
    """Training goes on where the race left it, unless it has gone further already."""
    if checkpoint.is_whole(draft.path / CHECKPOINT) or not checkpoint.is_whole(track / CHECKPOINT):
        return
    # The checkpoint last: where it lies, all that belongs to it does.
    for file in sorted(track.rglob("*"), key=lambda file: file.name == CHECKPOINT):
        if file.is_file() and file.name != NOTE and not file.name.endswith(WRITING):
            store.write_atomic(draft.path / file.relative_to(track), file.read_bytes())


def _train(candidate: Candidate, bench: Bench, draft: Draft) -> None:
    started = time.monotonic()
    dataset, column = bench.dataset, candidate.column
    network, job = job_for(candidate, bench, draft.path)
    fixed = candidate.fixed or {}
    job = replace(job, seconds=bench.seconds and bench.seconds / (1 + bench.options.folds), stop=fixed.get("epochs"))
    encoder = network.encoder
    short = say_too_short(candidate.name, network, job.rows.inputs[column], dataset, bench.context.console)
    trained = train(job, bench.context.console)
    encoder.apart = False
    joined = solving.join(network, job, solving.Joined(**fixed["linear"]) if "linear" in fixed else None)
    shutil.rmtree(draft.path / "warm-start", ignore_errors=True)
    draft.volatile.update({LOG, BATCH_SIZE, CHOICE})
    draft.measured.add("compute")
    _settle(network, job)
    origin = encoder.origin()
    if origin is not None:
        draft.metrics[licences.OTHERS] = [origin.as_dict()]
        bench.context.console.note(f"{candidate.name}: weights of others, {origin.name}, licence: {origin.licence}")
    task = dataset.task
    outputs = {reader: _outputs(job, reader, dataset) for reader in dataset.readers(column)}
    alone = {reader: _scores(own, dataset) for reader, own in outputs.items()}
    folds = _out_of_fold(candidate, outputs, bench, draft.path) if bench.options.folds else {}
    for reader, own in outputs.items():
        more = task.outputs.save(own) | ({fusion_job.OUT_OF_FOLD: folds[reader]} if folds else {})
        _keep(job, reader, column, candidate.tokens, more, draft)
    weights = network.kept() if isinstance(network, TowerModel) else network.state_dict()
    draft.tensors[loading.WEIGHTS] = tensors.save(draft.path / loading.WEIGHTS, weights)
    scores = alone[column]
    if len(outputs) > 1:
        everything = torch.arange(len(dataset.rows))
        scores = _scores(task.outputs.to(outputs_of(job, everything), torch.device("cpu")), dataset)
        # Where columns are compared, one alone is as good an encoder as the pair is told by it.
        together = task.compares_columns or task.aligns_columns
        own_scores = {reader: {"alone": own["val"]} if together else own for reader, own in alone.items()}
        draft.metrics["readers"] = own_scores
    draft.metrics.update(
        primary_metric=task.primary_metric,
        higher_is_better=task.primary_higher_is_better,
        val=scores["val"],
        train=scores["train"],
        best_epoch=trained.best_epoch,
        soup=trained.soup,
        epochs=len(trained.history),
        cut_by_time=trained.cut,
        **({"too_short": short} if short else {}),
        **({"linear": asdict(joined)} if joined else {}),
        parameters=parameter_count(encoder),
        compute=job.compute.described(),
        batch_size=job.config.batch_size,
        seconds=round(time.monotonic() - started, 2),
    )


def _settle(network: ColumnModel | SharedModel | TowerModel, job: Job) -> None:
    """Sets, from the val rows, what the heads decide by."""
    if isinstance(network, TowerModel):
        return
    val = job.rows.splits["val"]
    if isinstance(network, ColumnModel):
        network.head.settle(outputs_of(job, val), job.rows.targets[val])
        return
    for reader, head in network.own_heads().items():
        head.settle(outputs_alone(job, reader, val), job.rows.targets[val])
    if network.pair is not None:
        network.pair.settle(outputs_of(job, val), job.rows.targets[val])


def _outputs(job: Job, reader: str, dataset: Dataset) -> Any:
    """What an input's own head answers for every row, on the host."""
    everything = torch.arange(len(dataset.rows))
    shared = isinstance(job.module, SharedModel)
    found = outputs_alone(job, reader, everything) if shared else outputs_of(job, everything)
    return dataset.task.outputs.to(found, torch.device("cpu"))


def _keep(job: Job, reader: str, owner: str, tokens: int, more: Mapping[str, Tensor], draft: Draft) -> None:
    """Writes what the encoder makes of every row of an input, and `more` beside it."""
    features, whole = loading.EMBEDDINGS, loading.TOKENS
    if reader != owner:
        features, whole = loading.reader_file(features, reader), loading.reader_file(whole, reader)
    assert isinstance(job.module, ColumnModel | SharedModel | TowerModel)
    encoder, everything = job.module.encoder, torch.arange(len(job.rows.targets))
    if tokens:
        embeddings = _embed(job, encoder, reader, everything, tokens)
    else:
        with tensors.growing(draft.path / whole, "tokens") as grown:
            embeddings = _embed_whole(job, encoder, reader, everything, grown)
        draft.tensors[whole] = {"tokens": ["float16", *grown.shape]}
    draft.tensors[features] = tensors.save(draft.path / features, {**embeddings, **more})


def _scores(outputs: Any, dataset: Dataset) -> dict[str, dict[str, float]]:
    """Every metric on val, and the primary one on train."""
    task, kind = dataset.task, dataset.task.outputs
    val, train = dataset.splits["val"], dataset.splits["train"]
    learnt = task.score(task.taught(kind.glimpse(kind.gather(outputs, train))), dataset.targets[train])
    return {
        "val": task.score(kind.gather(outputs, val), dataset.targets[val]),
        "train": {task.primary_metric: learnt[task.primary_metric]},
    }


def _out_of_fold(candidate: Candidate, outputs: Mapping[str, Tensor], bench: Bench, folder: Path) -> dict[str, Tensor]:
    """Each reader's outputs, those of each train row from an encoder that has not seen it, trained on the other folds."""
    result = {reader: own.clone() for reader, own in outputs.items()}
    train_rows = bench.dataset.splits["train"]
    generator = torch.Generator().manual_seed(device.derive_seed(bench.context.seed, "folds"))
    folds = train_rows[torch.randperm(len(train_rows), generator=generator)].chunk(bench.options.folds)
    for number, left_out in enumerate(folds):
        own = folder / f"fold-{number}"
        own.mkdir(exist_ok=True)
        network, job = job_for(candidate, bench, own)
        kept = torch.cat([fold for place, fold in enumerate(folds) if place != number])
        splits = {**job.rows.splits, "train": kept}
        job = replace(job, rows=replace(job.rows, splits=splits), label=f"{candidate.name}, fold {number + 1}")
        train(replace(job, seconds=bench.seconds and bench.seconds / (1 + bench.options.folds)), bench.context.console)
        network.encoder.apart = False
        solving.join(network, job)
        for reader, found in result.items():
            shared = isinstance(network, SharedModel)
            found[left_out] = (outputs_alone(job, reader, left_out) if shared else outputs_of(job, left_out)).cpu()
        shutil.rmtree(own)
    return result


@torch.no_grad()
def _embed(job: Job, encoder: torch.nn.Module, column: str, index: Tensor, tokens: int) -> dict[str, Tensor]:
    """Pooled features and at most `tokens` tokens of the rows `index`, float16."""
    job.module.eval()
    parts: list[Features] = []
    with job.compute.autocast():
        for batch in job.rows.in_order(index, 256 if tokens else LONG_ROWS):
            features = encoder(batch.inputs[column])
            own, mask = bounded_tokens(features.tokens.float(), features.mask, tokens)
            parts.append(Features(features.pooled.half().cpu(), own.half().cpu(), mask.cpu(), features.present.cpu()))
    mask = torch.cat([part.mask for part in parts])
    longest = max(int(mask.sum(1).max()), 1) if len(mask) else 1
    return {
        "pooled": torch.cat([part.pooled for part in parts]),
        "tokens": torch.cat([part.tokens for part in parts])[:, :longest].clone(),
        "mask": mask[:, :longest].clone(),
        "present": torch.cat([part.present for part in parts]),
    }


@torch.no_grad()
def _embed_whole(job: Job, encoder: torch.nn.Module, column: str, index: Tensor, grown: tensors.Growing) -> dict[str, Tensor]:
    """Pooled features of the rows `index`, float16, and where each row's tokens lie among those of all, one row's after the
    other, which go to the file batch by batch: see `RaggedFeatures`."""
    job.module.eval()
    pooled, present, lengths = [], [], []
    with job.compute.autocast():
        for batch in job.rows.in_order(index, 256):
            features = encoder(batch.inputs[column])
            grown.add(features.tokens[features.mask].half())
            pooled.append(features.pooled.half().cpu())
            present.append(features.present.cpu())
            lengths.append(features.mask.sum(1).cpu())
    ends = torch.cat(lengths).cumsum(0)
    offsets = torch.cat([ends.new_zeros(1), ends])
    return {"pooled": torch.cat(pooled), "offsets": offsets, "present": torch.cat(present)}
