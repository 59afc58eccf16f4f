"""What is to be trained, method by method, and by which of several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from mmcli import registry
from mmcli.artifacts import layout, processes, store
from mmcli.artifacts.store import Artifact
from mmcli.config.settings import TAKERS_OF_TRAINING, Settings, spellings
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError
from mmcli.jobs import in_context
from mmcli.layers.starting import shapes_alone
from mmcli.models.recipe import build_head, encoder_choice, groups_of, head_of
from mmcli.options.fuse import ALL, Options
from mmcli.options.training import asked
from mmcli.proof import baselines
from mmcli.selection.leaderboard import Entry
from mmcli.stages import Context
from mmcli.training import device
from mmcli.training.config import TrainingConfig
from mmcli.training.fixed import Fixed

TRAINING = {"epochs": 60, "learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.05, "patience": 15}


TRAINING_THROUGH = {"epochs": 20, "learning_rate": 3e-4, "batch_size": 64, "weight_decay": 0.05, "patience": 5}


SEEDS = 3


SIDE_BY_SIDE = 4
"""Methods from which on it pays to train some in another process."""


@dataclass(frozen=True)
class Plan:
    """One method to be trained, with all that decides what comes out."""

    method: str
    config: Any
    training: TrainingConfig
    on_embeddings: TrainingConfig
    """How F and its head train while the encoders stand still: all there is, or what comes before they train together."""
    head: dict[str, Any]
    """The head over F, as a recipe names it."""
    encoders: dict[str, Artifact]
    """By name: the input, with the architecture where the input has several."""
    seeds: tuple[int, ...]
    out_of_fold: bool
    command: str
    fingerprint: str
    seconds: float | None = None
    """How long all its seeds may train together."""
    fixed: Fixed | None = None
    """What val would decide, where there is none."""

    @property
    def name(self) -> str:
        return layout.fusion(self.method)

    @property
    def reads_features(self) -> bool:
        """Whether there is a head over features: not where the columns' own predictions are fused."""
        return bool(registry.resolve("fusions", self.method).literals.get("ABOUT", {}).get("family") != "decision")

    @property
    def sources(self) -> dict[str, str]:
        return {name: artifact.config["column"] for name, artifact in self.encoders.items()}

    @property
    def parents(self) -> dict[str, str]:
        return {key: value for artifact in self.encoders.values() for key, value in artifact.parent().items()}


def plan_all(
    methods: Sequence[str], encoders: dict[str, Artifact], dataset: Dataset, options: Options, context: Context
) -> tuple[list[Plan], list[Entry]]:
    """What is to be trained; of all methods, those that cannot be are rows of the leaderboard with their reason."""
    plans, refused = [], []
    inputs = list(dict.fromkeys(own.config["column"] for own in encoders.values()))
    model = "" if context.fixed is not None else in_context.told(dataset, inputs, within(options))[0]
    for method in methods:
        try:
            plans.append(_plan(method, encoders, dataset, options, context, model))
        except ConfigError as error:
            if ALL not in options.methods:
                raise
            refused.append(Entry("refused", method, None, reason=" ".join(filter(None, (error.message, error.remedy)))))
    return plans, refused


def within(options: Options) -> float:
    """Seconds that asking a tabular foundation model may take."""
    return in_context.SECONDS if options.time_budget is None else min(options.time_budget, in_context.SECONDS)


def _plan(method: str, encoders: dict[str, Artifact], dataset: Dataset, options: Options, context: Context, model: str) -> Plan:
    """One method's; `model` tells which tabular foundation model may be a member beside it."""
    settings = context.settings.for_stage("fuse")
    info = registry.resolve("fusions", method)
    config = settings.part("fusions", method)
    _refuse_unread(method, info.literals.get("ABOUT", {}), dataset, options)
    training, on_embeddings = _trainings(info.literals.get("TRAINING", {}), dataset, options, settings)
    head = head_of(dataset.task, settings, options.head, _lead_head(method, encoders, dataset))
    with shapes_alone():
        dims, read = dict.fromkeys(encoders, 8), {name: own.config["column"] for name, own in encoders.items()}
        groups = groups_of({name: encoder_choice(own.config) for name, own in encoders.items()}, encoders)
        build_head(method, config.model_dump(), dims, read, dataset.task, head, groups=groups)
    _refuse_other_widths(encoders, head, dataset)
    out_of_fold = bool(info.literals.get("NEEDS_FOLDS"))
    without = [artifact.config["column"] for artifact in encoders.values() if not artifact.config.get("folds")]
    if out_of_fold and without:
        raise ConfigError(
            f"{method} learns from out-of-fold predictions, which the encoders of {', '.join(dict.fromkeys(without))} lack",
            "Run: mmcli train-encoder --folds 5",
        )
    kind, whole = registry.load("fusions", method), dataset.task.tokens == "whole"
    alone = len(encoders) == 1 and whole and kind.memory == "lead"  # they would all begin as that column, and end near it
    count = 1 if alone else options.seeds or (1 if options.train_encoders else info.literals.get("SEEDS", SEEDS))
    seeds = tuple(context.seed + i for i in range(count))
    plan = Plan(method, config, training, on_embeddings, head, encoders, seeds, out_of_fold, "", "")
    said = [config.model_dump(), head, training.told(), on_embeddings.told(), options.train_encoders, seeds]
    parts = (registry.load("fusions", method), registry.load("heads", head["name"]))
    sources = filter(None, map(registry.source_digest, parts))
    said += [["time", options.time_budget]] if options.time_budget else []
    said += [] if dataset.task.lacks("plain member") else [["plain", baselines.VERSION]]
    said += [] if dataset.task.lacks("known texts") else [["recall", baselines.VERSION]]
    said += [["in-context", baselines.VERSION, model]] if model and training.decisions else []
    said += [] if context.fixed is None else [["fixed", context.fixed.as_dict()]]
    fingerprint = store.digest([plan.parents, list(encoders), said, context.device, context.precision, *sources])
    return replace(plan, command=_command(method, options, context), fingerprint=fingerprint, fixed=context.fixed)


def _refuse_unread(method: str, about: Mapping[str, Any], dataset: Dataset, options: Options) -> None:
    """Refuses flags that a method, by what is said `about` it, has nothing to do with."""
    ordered = about.get("ordered") or (about.get("memory") == "lead" and dataset.task.tokens == "whole")
    alone = ALL not in options.methods and options.board  # else some of several methods, which flags need not all fit
    if options.order and not ordered and alone:
        raise ConfigError(f"--order: the method {method} does not look at the order of the columns", "Leave it out.")
    if options.head and about.get("family") == "decision" and alone:
        raise ConfigError(
            f"--head: {method} fuses the columns' own predictions, and has no head over features", "Leave it out."
        )


def _trainings(
    own: Mapping[str, Any], dataset: Dataset, options: Options, settings: Settings
) -> tuple[TrainingConfig, TrainingConfig]:
    """How all that trains does, and F with its head while the encoders stand still; `own` are the method's defaults."""
    on_embeddings = _training(options, TrainingConfig.of(settings, **{**TRAINING, **own}))
    through = TrainingConfig.of(settings, **TRAINING_THROUGH)
    training = _training(options, through) if options.train_encoders else on_embeddings
    if options.align is not None:
        training = training.model_copy(update={"align": options.align})
    if training.balance and dataset.task.compares_rows:
        raise ConfigError(
            "training.balance: it weighs the columns' own losses, and here rows are compared with one another", "Leave it out."
        )
    together = [key for key in ("balance", "anchor", "align") if getattr(training, key)]
    if together and not options.train_encoders:
        raise ConfigError(
            f"{', '.join(together)}: for encoders and fusion that train together", "Add --train-encoders, or leave it out."
        )
    if options.modality_dropout is not None:
        training = training.model_copy(update={"modality_dropout": options.modality_dropout})
        on_embeddings = on_embeddings.model_copy(update={"modality_dropout": options.modality_dropout})
    return training, on_embeddings


def _refuse_other_widths(encoders: Mapping[str, Artifact], head: Mapping[str, Any], dataset: Dataset) -> None:
    """Refuses vectors of a width that is not that of F's head, where they stand beside it."""
    wide = {name: own.config["head"]["config"].get("dim") for name, own in encoders.items()}
    other = [name for name, own in wide.items() if dataset.task.enrolled and own != head["config"].get("dim")]
    if other:
        raise ConfigError(
            f"the vectors of {', '.join(other)} are {wide[other[0]]} numbers wide, the head of F's {head['config'].get('dim')}",
            "Train and fuse with the same head.embedding.dim: mmcli train-encoder --set head.embedding.dim=...",
        )


def _lead_head(method: str, encoders: Mapping[str, Artifact], dataset: Dataset) -> tuple[str, dict[str, Any]] | None:
    """For texts the head of the column that leads, with its options; nothing of it reads steps in order where the method gives
    none."""
    if dataset.task.tokens != "whole":
        return None
    own = next(iter(encoders.values())).config["head"]
    kind = registry.load("fusions", method)
    unread = {"ctc_weight": 0.0} if "ctc_weight" in own["config"] and kind.memory != "lead" else {}
    return own["name"], {**own["config"], **unread}


def _training(options: Options, training: TrainingConfig) -> TrainingConfig:
    """How to train, with what the command's own flags say."""
    flags = asked(training.model_dump(), options.epochs, options.batch_size, options.learning_rate)
    return training.model_copy(update=flags)


def _command(method: str, options: Options, context: Context) -> str:
    """What makes this fusion alone."""
    words = ["mmcli", "fuse", "--method", method, *_flags(options)]
    return " ".join([*words, *(["--seed", str(context.seed)] if context.seed else [])])


def _flags(options: Options) -> list[str]:
    flags = [word for name in options.inputs for word in ("--input", name)]
    flags += [word for name, own in options.encoders.items() for one in own for word in ("--encoder", f"{name}={one}")]
    flags += [word for name in options.order for word in ("--order", name)]
    flags += [] if options.head is None else ["--head", options.head]
    flags += ["--best-only"] if options.best_only else []
    flags += ["--train-encoders"] if options.train_encoders else []
    flags += [] if options.align is None else ["--align", str(options.align)]
    flags += [] if options.seeds is None else ["--seeds", str(options.seeds)]
    flags += [] if options.epochs is None else ["--epochs", _shown(options.epochs)]
    flags += [] if options.batch_size is None else ["--batch-size", str(options.batch_size)]
    flags += [] if options.learning_rate is None else ["--learning-rate", str(options.learning_rate)]
    flags += [] if options.time_budget is None else ["--time-budget", f"{options.time_budget:g}s"]
    return flags + ([] if options.modality_dropout is None else ["--modality-dropout", str(options.modality_dropout)])


def _shown(epochs: float) -> str:
    return f"{100 * epochs:g}%" if epochs < 1 else f"{epochs:.0f}"


@contextmanager
def side_by_side(plans: Sequence[Plan], options: Options, context: Context) -> Iterator[list[Plan]]:
    """The plans for this process, while others make the rest of them; what those fail at is made here afterwards, and fails
    with its message."""
    due = [p for p in plans if context.force or not store.up_to_date(context.root, p.name, p.fingerprint)]
    cores = min(options.workers or context.threads or os.cpu_count() or 1, len(due))
    alone = cores < 2 or options.train_encoders or len(due) < SIDE_BY_SIDE or device.choose(context.device).device.type != "cpu"
    if alone or context.force:
        yield due
        return
    command = [sys.executable, "-m", "mmcli", "fuse", "--artifacts", str(context.root), *_flags(options), "--quiet"]
    command += ["--workers", "1", "--no-board", "--seed", str(context.seed), "--device", context.device]
    command += ["--precision", context.precision]
    groups = [[plan.method for plan in due[place::cores]] for place in range(1, cores)]
    environment = {**processes.environment(), "OMP_NUM_THREADS": "1"}
    if registry.trusted():
        environment["MMCLI_TRUST"] = os.pathsep.join(map(str, registry.trusted()))
    children = [
        subprocess.Popen(
            [*command, *_said(group, due[0].head["name"], context), *(w for method in group for w in ("--method", method))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        for group in groups
    ]
    try:
        yield due[::cores]
        for child in children:
            child.wait()
    finally:
        for child in children:
            child.kill()
            child.wait()


def _said(methods: Sequence[str], head: str, context: Context) -> Iterator[str]:
    """The settings that concern these methods, as flags."""
    known = {"fusion": {own for method in methods for own in spellings("fusions", method)}, "head": {*spellings("heads", head)}}
    for key, value in _flat(context.settings.for_stage("fuse").values):
        section, part, *_ = key.split(".")
        if part in known.get(section, {part}) and "fuse" in TAKERS_OF_TRAINING.get(part, ("fuse",)):
            yield from ("--set", f"{key}={json.dumps(value)}")


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of the settings that fusing looks at."""
    for key, value in values.items():
        if not prefix and key not in {"fusion", "head", "training"}:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
