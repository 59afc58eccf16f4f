"""train-encoder: one sub-model for each input column, trained with its own head; the best on val is used by fuse.

For each encoder the weights, the learning curve and the embeddings of every row are kept, so that fusing costs seconds.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mmcli.artifacts.store import Artifact
from mmcli.data import memory
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError
from mmcli.jobs import encoder as encoder_job
from mmcli.models import loading
from mmcli.options.train_encoder import Options
from mmcli.options.training import AUTO
from mmcli.pretrained import shelf
from mmcli.reporting.metrics import shown
from mmcli.stages import Context, Outcome
from mmcli.stages.train_encoder.candidates import Bench, Candidate, candidates_of, short_name
from mmcli.stages.train_encoder.race import fresh
from mmcli.stages.train_encoder.side_by_side import helped
from mmcli.stages.train_encoder.training import train_input
from mmcli.training import device
from mmcli.training.workers import Clock, cores, working

__all__ = ["Options", "run"]

TUNED = {"head": "read as they are", "last-2": "tuned in their last two blocks"}
"""What is said of models of `MMCLI_MODELS`."""


def run(options: Options, context: Context, times: float = 1.0) -> Outcome:
    """Trains the candidates of every column into `encoders/<column>/<architecture>/`, in so many `times` what the options give
    of time: where others train beside it, it is longer by the clock.

    Raises:
        ConfigError: an unknown column or architecture, or one that does not take the column's signals or its preprocessing.
        ArtifactError: there is no preprocessed table.
    """
    options.foresee(context.root)
    dataset = Dataset.open(context.root)
    several = len(dataset.inputs) > 1 and device.choose(context.device).device.type == "cpu"
    with device.threads(1 if several else context.threads):
        return _run(options, dataset, several, context, times)


def _run(options: Options, dataset: Dataset, several: bool, context: Context, times: float) -> Outcome:
    """Where there are several inputs, each computes on one thread, alone or not: the bits are those of any number of cores."""
    own = replace(context, threads=1) if several else context
    bench = Bench(options, dataset, device.choose(own.device, own.precision, own.threads), own)
    if options.folds and (not dataset.task.outputs.decides or dataset.task.gives_embeddings):
        raise ConfigError(
            f"--folds {options.folds}: it is for --method stacking, which fuses decisions, and these answers are "
            f"{dataset.task.outputs.words}",
            "Leave it out.",
        )
    candidates = candidates_of(_owners(options, dataset, context), bench)
    columns = tuple(candidates)
    every = [c for own in candidates.values() for c in own]
    _check_flags(options, every, context)
    context.settings.refuse_unused("encoders", [c.architecture for c in every], "train-encoder")
    context.settings.refuse_unused("heads", [c.head["name"] for c in every], "train-encoder")
    if not any(sum(c.races for c in own) > 1 for own in candidates.values()):
        options.refuse_budget("each input has but one encoder to train")
    _say_idle(every, bench)
    names = [c.name for c in every]
    if context.dry_run:
        context.console.note("dry run: would train " + ", ".join(names))
        return Outcome({"candidates": names}, "mmcli train-encoder")
    at_once = min(cores(context.device, context.threads), len(columns)) if several and not options.profile else 1
    beside = f", {at_once} inputs at a time" if at_once > 1 else ""
    context.console.note(f"train-encoder: {len(columns)} input{'s' * (len(columns) > 1)} on {bench.compute}{beside}")
    for column in sorted(dataset.streamed & set(columns)):
        context.console.note(f"{column} stays on disk: it is larger than what columns may take in memory ({memory.VARIABLE})")
    due = [column for column in columns if context.force or not fresh(candidates[column], bench)]
    if not due:
        context.console.note("train-encoder: up to date")
    _say_notes([candidate for candidate in every if candidate.column in due], every, bench)
    clock = Clock(options.time_budget and times * options.time_budget)
    if at_once > 1 and len(due) > 1:
        with (
            context.console.side_by_side(),
            helped({name: candidates[name] for name in due}, dataset, options, context, clock) as queue,
        ):
            working(queue, lambda name, seconds: train_input(candidates[name], replace(bench, seconds=seconds)))
        working(queue, lambda name, seconds: train_input(candidates[name], replace(bench, seconds=seconds)))
        bench = replace(bench, context=replace(own, force=False))
    made: list[Artifact] = []
    for place, column in enumerate(columns):
        made += train_input(candidates[column], replace(bench, seconds=clock.share(len(columns) - place)))
    best = {column: loading.fresh_encoders(context.root, column)[0].name for column in columns}
    _say(made, best, dataset, context)
    data = {artifact.name: {"kept": artifact.name in best.values(), **artifact.metrics} for artifact in made}
    missing = [name for name in dataset.inputs if name not in best and not loading.fresh_encoders(context.root, name)]
    fuse = f"mmcli fuse --method {dataset.task.default_fusion}"
    return Outcome({"encoders": data}, shlex.join(["mmcli", "train-encoder", *missing]) if missing else fuse)


def _owners(options: Options, dataset: Dataset, context: Context) -> tuple[str, ...]:
    """The inputs that have an encoder of their own among those asked for; whose encoder another reads is said."""
    asked = options.columns or tuple(dataset.inputs)
    for name in asked:
        if dataset.owner(name) != name:
            context.console.note(f"input {name!r} reads the encoder of {dataset.owner(name)!r}")
    return tuple(dict.fromkeys(dataset.owner(name) for name in asked))


def _check_flags(options: Options, candidates: Sequence[Candidate], context: Context) -> None:
    """Refuses flags that nothing which is to be trained looks at."""
    for flag, value in (("weights", options.weights), ("tune", options.tune)):
        # Of those that are chosen one by one, flags need not fit any: they were for others, which lost.
        if value is not None and not options.chosen and not any(hasattr(own.config, flag) for own in candidates):
            raise ConfigError(
                f"--{flag} is for networks of other libraries, none of the encoders is one",
                "E.g. --arch torchvision:resnet18, timm:resnet18 or hf:DIR; see: mmcli list encoders",
            )

    warm = context.settings.typed_as("training.warm_epochs", "train-encoder")
    if warm and not options.unlabelled:
        raise ConfigError(f"--set {warm}: there is no warm start", "Add --unlabelled use, or leave it out.")


def _say_notes(due: Sequence[Candidate], every: Sequence[Candidate], bench: Bench) -> None:
    """What was decided of candidates; which are of `MMCLI_MODELS`, and what of that folder is not read."""
    note, options = bench.context.console.note, bench.options
    for own in due:
        if own.races and shelf.holds(own.architecture):
            note(f"{own.column}: also {own.architecture}; {own.note or 'it reads the column as it is stored'}")
        elif own.note:
            note(f"{own.name}: {own.note}")
    if not due or AUTO not in options.architectures or options.chosen:
        return
    for name, error in bench.left_out.items():
        bench.context.console.warn(f"{name} is left out: {error.message}. {error.remedy}")
    found = shelf.look()
    for line in found.left_out:
        bench.context.console.warn(f"{shelf.VARIABLE}: {line}")
    told = {own.architecture for own in every} | set(bench.left_out)
    idle = [f"{own.architecture} ({own.modality})" for own in found.models if not any(own.architecture in key for key in told)]
    if idle and not options.columns:
        why = "the target is a text" if bench.dataset.task.tokens == "whole" else "no input is of its kind"
        bench.context.console.warn(f"{', '.join(idle)} does not race: {why}. To hear no more of it: unset {shelf.VARIABLE}")
    tuned = {own.config.tune for own in due if own.races and shelf.holds(own.architecture)}
    for how in sorted(tuned):
        note(f"models of {shelf.VARIABLE} are {TUNED.get(how, 'tuned')} (--tune {how}); unset it to leave them out")


def _say_idle(candidates: Sequence[Candidate], bench: Bench) -> None:
    """Says which candidates do not mix rows, or read them but once, though they are to do otherwise; if none would and it was
    typed, that is an error."""
    kinds = {c.name: bench.dataset.input(c.column).spec.kind for c in candidates}
    mixing = {c.name: encoder_job.unmixed(kinds[c.name], c.config) for c in candidates if c.training.mix != "none"}
    whole = f"Leave it out; it is for {', '.join(sorted(encoder_job.MIXABLE))}."
    _idle("training.mix", mixing, ("mixed", "its rows stay whole", whole), bench)
    comparing = [c for c in candidates if c.training.consistency]
    once = {c.name: encoder_job.why_read_once(c.head["name"], c.training, bench.dataset, c.column, c.config) for c in comparing}
    _idle(
        "training.consistency",
        once,
        ("varied twice", "each row is read once", "Leave it out; it is for --head ctc and rows that vary."),
        bench,
    )
    both = [name for name, why in once.items() if not why and mixing.get(name) == ""]
    if both:
        raise ConfigError(
            f"{both[0]}: rows that are varied twice (training.consistency) are not mixed (training.mix)",
            "Set one of them: --set training.mix=none or --set training.consistency=0.",
        )


def _idle(key: str, reasons: Mapping[str, str], words: tuple[str, str, str], bench: Bench) -> None:
    """The same of one option, by the reasons (empty: there is none) of the candidates that have it. `words`: what none of these
    can be, what they do instead, and what to do."""
    done, instead, remedy = words
    idle = {name: why for name, why in reasons.items() if why}
    typed = bench.context.settings.typed_as(key, "train-encoder")
    if typed and idle and len(idle) == len(reasons):
        said = "; ".join(f"{name} ({why})" for name, why in idle.items())
        raise ConfigError(f"--set {typed}: none of these can be {done}: {said}", remedy)
    for name, why in idle.items():
        bench.context.console.warn(f"{name}: {key} does nothing here, {why}; {instead}")


def _say(made: Sequence[Artifact], kept: dict[str, str], dataset: Dataset, context: Context) -> None:
    primary = dataset.task.primary_metric
    rows = []
    for artifact in made:
        metrics = artifact.metrics
        rows.append(
            [
                artifact.config["column"],
                short_name(artifact.config["architecture"]) + (" *" if artifact.name in kept.values() else ""),
                shown(metrics["val"][primary]),
                shown(metrics["train"][primary]),
                f"{metrics['best_epoch']}/{metrics['epochs']}",
                f"{metrics['parameters']:,}",
                f"{metrics['seconds']:.1f}",
            ]
        )
    header = ["input", " encoder", f"val {primary}", f"train {primary}", "best epoch", "parameters", "seconds"]
    context.console.table(header, rows)
    most = loading.most_fused(dataset.task)
    context.console.note(f"* best on val for its input; fuse takes the best {most} of each input (--best-only: this one)")
