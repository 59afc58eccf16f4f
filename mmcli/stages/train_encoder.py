"""train-encoder: one sub-model for each input column, trained with its own head; the best on val is used by fuse.

For each encoder the weights, the learning curve and the embeddings of every row are kept, so that fusing costs seconds.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcli import fusing, memory, model, pretrained, racing, recomputing, registry, solo, warmstart
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.lock import locked
from mmcli.artifacts.store import Artifact, Draft
from mmcli.config import TrainingConfig, validate
from mmcli.dataset import Dataset
from mmcli.encoders import Encoder, parameter_count
from mmcli.errors import ConfigError, MmcliError, combine, unknown
from mmcli.inputs import Input
from mmcli.layers import bounded_tokens
from mmcli.networks import ColumnModel
from mmcli.racing import Budget
from mmcli.reporting.metrics import shown
from mmcli.signals import Features, Source
from mmcli.stages import Context, Outcome
from mmcli.training import device, fitting, measuring
from mmcli.training.device import Compute
from mmcli.training.job import Job
from mmcli.training.loop import CHECKPOINT, LOG, outputs_of, rehearse, train

AUTO = "auto"
BATCH_SIZE = "batch_size"
PROFILES = "profiles"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    columns: tuple[str, ...] = ()
    architectures: tuple[str, ...] = (AUTO,)
    tokens: int = 16
    """Most tokens kept of a row among the embeddings; longer ones are averaged in runs."""
    weights: str | None = None
    """Where networks of other libraries start; by default as configured."""
    tune: str | None = None
    augment: str | None = None
    budget: Budget = field(default_factory=Budget)
    """How long the entrants of `auto` train before losers are stopped."""
    folds: int = 0
    """Folds for out-of-fold outputs of the train rows; 0 for none."""
    batch_size: int | None = None
    """Rows in one step; 0 for the most that fit, None for the encoder's own default."""
    profile: bool = False
    """Whether some steps of each encoder are traced."""
    unlabelled: bool = False
    """Whether rows without a target serve a self-supervised warm start."""


@dataclass(frozen=True)
class _Candidate:
    column: str
    architecture: str
    config: Any
    training: TrainingConfig
    races: bool
    """Whether it came by `auto`."""
    fingerprint: str

    @property
    def name(self) -> str:
        return layout.encoder(self.column, self.architecture)


@dataclass(frozen=True)
class _Bench:
    """What training an encoder takes."""

    options: Options
    dataset: Dataset
    compute: Compute
    context: Context


def run(options: Options, context: Context) -> Outcome:
    """Trains the candidates of every column into `encoders/<column>/<architecture>/`.

    Raises:
        ConfigError: an unknown column or architecture, or one that does not take the column's signals or its preprocessing.
        ArtifactError: there is no preprocessed table.
    """
    dataset = Dataset.open(context.root)
    _check_names(options, dataset)
    compute = device.choose(context.device, context.precision, context.threads)
    bench = _Bench(options, dataset, compute, context)
    columns = options.columns or tuple(dataset.inputs)
    candidates = {column: _candidates(column, bench) for column in columns}
    _check_flags(options, [c for own in candidates.values() for c in own])
    names = [c.name for own in candidates.values() for c in own]
    if context.dry_run:
        context.console.note("dry run: would train " + ", ".join(names))
        return Outcome({"candidates": names}, "mmcli train-encoder")
    context.console.note(f"train-encoder: {len(names)} encoders on {compute}")
    for column in sorted(dataset.streamed & set(columns)):
        context.console.note(f"{column} stays on disk: it is larger than what columns may take in memory ({memory.VARIABLE})")
    made: list[Artifact] = []
    for own in candidates.values():
        record = _race(own, bench)
        kept = [c for c in own if not record or c.architecture in record["kept"]]
        for candidate in kept if options.profile else ():
            _profile(candidate, bench)
        made += [_make(candidate, record, bench) for candidate in kept]
    best = {column: model.fresh_encoders(context.root, column)[0].name for column in columns}
    _say(made, best, dataset, context)
    data = {artifact.name: {"kept": artifact.name in best.values(), **artifact.metrics} for artifact in made}
    return Outcome({"encoders": data}, "mmcli fuse --method gated")


def _check_names(options: Options, dataset: Dataset) -> None:
    errors: list[MmcliError] = [
        ConfigError(unknown("input", column, dataset.inputs)) for column in options.columns if column not in dataset.inputs
    ]
    for architecture in options.architectures:
        if architecture != AUTO:
            try:
                registry.resolve("encoders", architecture)
            except ConfigError as error:
                errors.append(ConfigError(f"--arch {architecture}: {error.message}", error.remedy))
    if errors:
        raise combine(errors)


def _check_flags(options: Options, candidates: Sequence[_Candidate]) -> None:
    """Refuses flags that nothing which is to be trained looks at."""
    for flag, value in (("weights", options.weights), ("tune", options.tune)):
        if value is not None and not any(hasattr(candidate.config, flag) for candidate in candidates):
            raise ConfigError(
                f"--{flag} is for networks of other libraries, none of the encoders is one",
                "E.g. --arch torchvision:resnet18, timm:resnet18 or hf:DIR; see: mmcli list encoders",
            )


def _candidates(column: str, bench: _Bench) -> list[_Candidate]:
    options, found = bench.options, bench.dataset.input(column)
    kind = found.spec.kind
    names: dict[str, bool] = {}
    for architecture in options.architectures:
        if architecture == AUTO:
            rows = len(bench.dataset.splits["train"])
            names |= dict.fromkeys(found.fitting_encoders(rows, bench.compute.device.type != "cpu"), True)
        elif options.columns or kind in registry.load("encoders", architecture).kinds:
            names.setdefault(registry.canonical("encoders", architecture), False)
    if not names:
        raise ConfigError(
            f"none of --arch {', '.join(options.architectures)} takes the input {column!r}, a {kind}",
            "Add --arch auto, or name the columns to train: mmcli train-encoder COL --arch NAME.",
        )
    return [_candidate(column, name, races, found, bench) for name, races in names.items()]


def _candidate(column: str, name: str, races: bool, found: Input, bench: _Bench) -> _Candidate:
    options, context = bench.options, bench.context
    settings = context.settings.for_stage("train-encoder")
    literals = registry.resolve("encoders", name).literals
    kind: type[Encoder] = registry.load("encoders", name)
    asked: dict[str, Any] = {} if options.augment is None else {"augment": options.augment}
    asked |= {"batch_size": options.batch_size} if options.batch_size else {}
    training = settings.training(**literals.get("TRAINING", {}))
    training = training.model_copy(update=asked)
    config = settings.part("encoders", name, **literals.get("AUGMENT", {}).get(training.augment, {}))
    flags = {"weights": options.weights, "tune": options.tune}
    flags = {key: value for key, value in flags.items() if value is not None and hasattr(config, key)}
    config = kind.resolve(validate(type(config), {**config.model_dump(), **flags}, f"encoder.{name}"))
    starts_from = pretrained.digest(config)
    if starts_from:
        defaults = {**literals.get("TRAINING", {}), **pretrained.training(config.tune)}
        training = settings.training(**defaults).model_copy(update=asked)
        _check_preprocessing(column, name, kind, config, found)
    with torch.device("meta"):  # says at once whether the two fit
        model.build_encoder(name, config.model_dump(), found.spec)
    parent = bench.dataset.artifact.parent(column)
    said = [config.model_dump(), training.model_dump(), options.tokens, options.unlabelled, options.folds, starts_from]
    said += ["batch size auto"] if options.batch_size == 0 else []
    placed = [context.seed, context.device, context.precision]
    return _Candidate(column, name, config, training, races, store.digest([parent, said, placed]))


def _check_preprocessing(column: str, name: str, kind: type[Encoder], config: Any, found: Input) -> None:
    """Published weights want the very preprocessing that they were trained with."""
    if config.weights != "default" or found.joined:
        return
    for modality, wanted in kind.preprocessing(config).items():
        wrong = found.first.disagreements(wanted) if modality == found.modality else []
        if wrong:
            raise ConfigError(
                f"the weights of {name} were trained with other preprocessing than the input {column!r}: {'; '.join(wrong)}",
                f"Preprocess for it: mmcli preprocess TABLE --for {column}={name}, or start at random: --weights none.",
            )


def _race(candidates: Sequence[_Candidate], bench: _Bench) -> dict[str, Any]:
    """Lets the entrants that came by `auto` train for a while, and says which go on; empty where there is nothing to race."""
    entrants = [candidate for candidate in candidates if candidate.races]
    options, context = bench.options, bench.context
    if len(entrants) < 2:
        return {}
    key = store.digest([[entrant.fingerprint for entrant in entrants], asdict(options.budget)])
    for entrant in () if context.force else entrants:
        known = store.up_to_date(context.root, entrant.name, entrant.fingerprint)
        if known and known.metrics.get("race", {}).get("key") == key:
            record: dict[str, Any] = known.metrics["race"]
            return record
    folder = f"encoders/{layout.safe(entrants[0].column)}/.race"
    (context.root / folder).mkdir(parents=True, exist_ok=True)
    with locked(context.root, folder):
        record = {"key": key, **_run_race(entrants, bench, context.root / folder)}
    by_hand = [candidate.architecture for candidate in candidates if not candidate.races]
    return {**record, "kept": [*record["kept"], *by_hand]}


def _run_race(entrants: Sequence[_Candidate], bench: _Bench, folder: Path) -> dict[str, Any]:
    budget, dataset = bench.options.budget, bench.dataset
    val = dataset.splits["val"]
    outputs, table = {}, {}
    for entrant in entrants:
        started = time.monotonic()
        own = _track(folder, entrant)
        network, job = _job(entrant, bench, own)
        epochs = budget.epochs
        if epochs is None and budget.seconds is None:
            epochs = max(round(entrant.training.epochs * racing.DEFAULT_SHARE), 1)
        seconds = None if budget.seconds is None else budget.seconds / len(entrants)
        done, over = rehearse(job, bench.context.console, epochs, seconds)
        outputs[entrant.architecture] = outputs_of(job, val.to(bench.compute.device)).cpu()
        table[entrant.architecture] = {
            "epochs": done,
            "over": over,
            "seconds": round(time.monotonic() - started, 2),
            "parameters": parameter_count(network.encoder),
        }
    standings = racing.judge(outputs, dataset.targets[val], dataset.task, bench.context.seed)
    rows = {name: {**table[name], **asdict(standing)} for name, standing in standings.items()}
    _say_race(entrants[0].column, rows, bench)
    return {"kept": [name for name, standing in standings.items() if standing.kept], "table": rows}


def _track(folder: Path, entrant: _Candidate) -> Path:
    """Where an entrant's checkpoint lies; what another race left there is gone."""
    own = folder / layout.safe(entrant.architecture)
    note = own / "fingerprint"
    if not (note.is_file() and note.read_text() == entrant.fingerprint):
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        note.write_text(entrant.fingerprint)
    return own


def _say_race(column: str, table: Mapping[str, Mapping[str, Any]], bench: _Bench) -> None:
    primary = bench.dataset.task.primary_metric
    rows = [
        [
            _short(name),
            "goes on" if row["kept"] else "stopped",
            shown(row["score"]),
            f"{row['epochs']}",
            f"{row['parameters']:,}",
            f"{row['seconds']:.1f}",
            row["reason"],
        ]
        for name, row in table.items()
    ]
    header = [f"race for {column}", " result", f"val {primary}", "epochs", "parameters", "seconds", " because"]
    bench.context.console.table(header, rows)


def _profile(candidate: _Candidate, bench: _Bench) -> None:
    """Traces some steps as training takes them, into `profiles/<input>/<architecture>/`."""
    from mmcli.training import profiling

    folder = bench.context.root / PROFILES / candidate.name.partition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    _, job = _job(candidate, bench, folder)
    found = profiling.profiled(job, folder)
    bench.context.console.note(f"{candidate.name}: {found.words}\nthe trace, for ui.perfetto.dev: {folder / profiling.TRACE}")


def _make(candidate: _Candidate, record: Mapping[str, Any], bench: _Bench) -> Artifact:
    context, dataset = bench.context, bench.dataset
    if not context.force and (found := store.up_to_date(context.root, candidate.name, candidate.fingerprint)):
        context.console.note(f"{candidate.name}: up to date")
        return found
    with store.writing(
        context.root,
        candidate.name,
        kind="encoder",
        command=context.command or f"mmcli train-encoder {candidate.column} --arch {candidate.architecture}",
        config={
            "column": candidate.column,
            "architecture": candidate.architecture,
            "encoder": candidate.config.model_dump(),
            "training": candidate.training.model_dump(),
            "folds": bench.options.folds,
            "precision": bench.compute.precision,
        },
        seed=context.seed,
        parents=dataset.artifact.parent(candidate.column),
        fingerprint=candidate.fingerprint,
    ) as draft:
        raced = context.root / f"encoders/{layout.safe(candidate.column)}/.race"
        if candidate.races and record:
            _take_over(_track(raced, candidate), draft)
        _train(candidate, bench, draft)
        if record and candidate.races:
            draft.metrics["race"] = dict(record)
        score = f"val {dataset.task.primary_metric} {shown(draft.metrics['val'][dataset.task.primary_metric])}"
        context.console.note(
            f"{candidate.column}, {_short(candidate.architecture)}: {score} in {draft.metrics['seconds']:.1f} s"
        )
    shutil.rmtree(raced / layout.safe(candidate.architecture), ignore_errors=True)
    return model.read_encoder(context.root, candidate.column, candidate.architecture)


def _take_over(track: Path, draft: Draft) -> None:
    """Training goes on where the race left it, unless it has gone further already."""
    if not (draft.path / CHECKPOINT).exists():
        for file in track.iterdir():
            if file.name != "fingerprint":
                (shutil.copytree if file.is_dir() else shutil.copy2)(file, draft.path / file.name)


def _job(candidate: _Candidate, bench: _Bench, folder: Path) -> tuple[ColumnModel, Job]:
    """The encoder and its head as they begin, and how they are trained."""
    name, column, dataset = candidate.architecture, candidate.column, bench.dataset
    seed = device.derive_seed(bench.context.seed, column, name)
    device.seed_everything(seed)
    encoder = model.build_encoder(name, candidate.config.model_dump(), dataset.input(column).spec)
    network = ColumnModel(encoder, dataset.task.head(encoder.dim))
    encoder.start()
    network.to(bench.compute.device)
    prepared = encoder.prepare(dataset.column(column))
    encoder.fit(prepared.select(dataset.splits["train"]))
    encoder.apart = True
    if bench.options.unlabelled:
        _warm(candidate, encoder, prepared, seed, folder, bench)
    if candidate.training.recompute:
        recomputing.recompute(network.encoder)
    job = solo.job(
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
    wanted = bench.context.settings.for_stage("train-encoder").compute()
    if bench.context.threads:
        wanted = wanted.model_copy(update={"threads": bench.context.threads})
    return network, measuring.tuned(job, bench.context.console, wanted)


def _with_largest_batch(job: Job, bench: _Bench) -> Job:
    """The job with as large a batch as fits, and a learning rate to match; once found, it holds for the job's folder."""
    note = job.folder / BATCH_SIZE
    if note.is_file():
        rows = int(note.read_text())
    else:
        rows, why = fitting.largest_batch(job)
        store.write_atomic(note, str(rows).encode())
        bench.context.console.note(f"{job.label}: batches of {rows:,} rows ({why})")
    rate = job.config.learning_rate * math.sqrt(rows / job.config.batch_size)
    return replace(job, config=job.config.model_copy(update={"batch_size": rows, "learning_rate": rate}))


def _warm(candidate: _Candidate, encoder: Encoder, prepared: Source, seed: int, folder: Path, bench: _Bench) -> None:
    reason = warmstart.unfit(encoder, bench.dataset.input(candidate.column).spec.kind)
    if reason:
        bench.context.console.note(f"{candidate.name}: no warm start, {reason}")
    elif not (folder / CHECKPOINT).exists():
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
        )


def _train(candidate: _Candidate, bench: _Bench, draft: Draft) -> None:
    started = time.monotonic()
    dataset, compute, column = bench.dataset, bench.compute, candidate.column
    network, job = _job(candidate, bench, draft.path)
    encoder = network.encoder
    trained = train(job, bench.context.console)
    encoder.apart = False
    shutil.rmtree(draft.path / "warm-start", ignore_errors=True)
    draft.volatile.update({LOG, BATCH_SIZE})
    val = job.rows.splits["val"]
    dataset.task.settle(network.head, outputs_of(job, val), job.rows.targets[val])
    everything = torch.arange(len(dataset.rows), device=compute.device)
    embeddings = _embed(job, encoder, column, everything, bench.options.tokens)
    embeddings["outputs"] = outputs_of(job, everything)
    if bench.options.folds:
        embeddings[fusing.OUT_OF_FOLD] = _out_of_fold(candidate, embeddings["outputs"].cpu(), bench, draft.path)
    draft.tensors[model.EMBEDDINGS] = tensors.save(draft.path / model.EMBEDDINGS, embeddings)
    draft.tensors[model.WEIGHTS] = tensors.save(draft.path / model.WEIGHTS, network.state_dict())
    scores = {
        split: dataset.task.score(embeddings["outputs"][index].cpu(), dataset.targets[index])
        for split, index in dataset.splits.items()
        if split != "test"
    }
    draft.metrics.update(
        primary_metric=dataset.task.primary_metric,
        higher_is_better=dataset.task.primary_higher_is_better,
        val=scores["val"],
        train={dataset.task.primary_metric: scores["train"][dataset.task.primary_metric]},
        best_epoch=trained.best_epoch,
        soup=trained.soup,
        epochs=len(trained.history),
        parameters=parameter_count(encoder),
        compute=job.compute.described(),
        batch_size=job.config.batch_size,
        seconds=round(time.monotonic() - started, 2),
    )


def _out_of_fold(candidate: _Candidate, outputs: Tensor, bench: _Bench, folder: Path) -> Tensor:
    """The outputs with those of each train row from an encoder that has not seen it, trained on the other folds."""
    result = outputs.clone()
    train_rows = bench.dataset.splits["train"]
    generator = torch.Generator().manual_seed(device.derive_seed(bench.context.seed, "folds"))
    folds = train_rows[torch.randperm(len(train_rows), generator=generator)].chunk(bench.options.folds)
    for number, left_out in enumerate(folds):
        own = folder / f"fold-{number}"
        own.mkdir(exist_ok=True)
        network, job = _job(candidate, bench, own)
        kept = torch.cat([fold for place, fold in enumerate(folds) if place != number])
        splits = {**job.rows.splits, "train": kept.to(bench.compute.device)}
        job = replace(job, rows=replace(job.rows, splits=splits), label=f"{candidate.name}, fold {number + 1}")
        train(job, bench.context.console)
        network.encoder.apart = False
        result[left_out] = outputs_of(job, left_out.to(bench.compute.device)).cpu()
        shutil.rmtree(own)
    return result


@torch.no_grad()
def _embed(job: Job, encoder: torch.nn.Module, column: str, index: Tensor, tokens: int) -> dict[str, Tensor]:
    """Pooled features and at most `tokens` tokens of the rows `index`, float16."""
    job.module.eval()
    parts: list[Features] = []
    with job.compute.autocast():
        for batch in job.rows.in_order(index, 256):
            features = encoder(batch.inputs[column])
            short, mask = bounded_tokens(features.tokens.float(), features.mask, tokens)
            parts.append(Features(features.pooled.half().cpu(), short.half().cpu(), mask.cpu(), features.present.cpu()))
    mask = torch.cat([part.mask for part in parts])
    longest = max(int(mask.sum(1).max()), 1) if len(mask) else 1
    return {
        "pooled": torch.cat([part.pooled for part in parts]),
        "tokens": torch.cat([part.tokens for part in parts])[:, :longest].clone(),
        "mask": mask[:, :longest].clone(),
        "present": torch.cat([part.present for part in parts]),
    }


def _short(architecture: str) -> str:
    """An architecture that is named by a folder, by the last part of its path."""
    kind, colon, name = architecture.partition(":")
    return f"{kind}:.../{Path(name).name}" if colon and len(Path(name).parts) > 2 else architecture


def _say(made: Sequence[Artifact], kept: dict[str, str], dataset: Dataset, context: Context) -> None:
    primary = dataset.task.primary_metric
    rows = []
    for artifact in made:
        metrics = artifact.metrics
        rows.append(
            [
                artifact.config["column"],
                _short(artifact.config["architecture"]) + (" *" if artifact.name in kept.values() else ""),
                shown(metrics["val"][primary]),
                shown(metrics["train"][primary]),
                f"{metrics['best_epoch']}/{metrics['epochs']}",
                f"{metrics['parameters']:,}",
                f"{metrics['seconds']:.1f}",
            ]
        )
    header = ["input", " encoder", f"val {primary}", f"train {primary}", "best epoch", "parameters", "seconds"]
    context.console.table(header, rows)
    context.console.note("* best on val for its input; fuse takes the best three of each input (--best-only: this one)")
