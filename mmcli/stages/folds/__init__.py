"""folds: val rotates over train and val. Each fold is a whole pipeline with a part of its own as val; the model is their mean.

The first fold is the root itself. Each further one is an artifacts root of its own, `folds/2/` and so on, with the same tensors
and other splits, in which the stages run as ever: they are dealt here (`deal`), trained by whoever runs the stages, and joined
here (`run`) into `folded/`. Test rows stay what they are. With a refit one more pipeline, `folds/refit/`, is trained on all
labelled rows for as long as the folds were (`deal_refit`), and becomes `refit/` (`refit`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmcli import registry
from mmcli.artifacts import disk, layout, store
from mmcli.artifacts.lock import locked
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError
from mmcli.models import loading
from mmcli.options.fuse import Options as FuseOptions
from mmcli.options.run import AUTO_FOLDS, FEW_ROWS, Preset
from mmcli.options.train_encoder import Budget
from mmcli.options.train_encoder import Options as EncoderOptions
from mmcli.pretrained import shelf
from mmcli.stages import Context, Outcome
from mmcli.stages.folds.dealing import deal_one, folds_of
from mmcli.stages.folds.joining import join
from mmcli.stages.folds.refitting import fixed_by, refit, sound
from mmcli.tasks import Task
from mmcli.training.config import TrainingConfig

__all__ = [
    "Taken",
    "check_refit",
    "context_of",
    "count_of",
    "deal",
    "deal_refit",
    "feasible",
    "leave_out",
    "quietly",
    "refit",
    "run",
    "said_of",
    "say_of_time",
    "taken_over",
]

MOST_METHODS = 6
"""Methods that are trained in every fold, the best on val, where more were trained."""


@dataclass(frozen=True)
class Taken:
    """What folds take over from the first one: there is no new race."""

    methods: tuple[str, ...]
    """Best on val first."""
    encoders: Mapping[str, Sequence[str]]
    """Input -> the architectures that are fused."""
    of_owners: Mapping[str, Sequence[str]]
    """The same of the inputs that have encoders of their own."""
    tuned: Mapping[str, str]
    """Name of an encoder that is a model of `MMCLI_MODELS` -> what trains of it: in a race without time for more, nothing."""

    @property
    def owners(self) -> tuple[str, ...]:
        return tuple(self.of_owners)

    def training(self, options: EncoderOptions) -> EncoderOptions:
        """How the encoders are trained in a fold."""
        return replace(options, columns=self.owners, chosen=self.of_owners, tune_each=self.tuned, budget=Budget())


def count_of(asked: int | None, preset: Preset, table: Mapping[str, Any], time: str | None = None) -> int:
    """How many folds there are to be, 1 being none beside the root, for what `preprocess` said of the table. Where nothing was
    asked: of the preset `best`, on few rows with decisions to make that are not split by `time`.

    Raises:
        ConfigError: they were asked for, and cannot be had of such a target.
    """
    if asked == 1 or (asked is None and preset != "best"):
        return 1
    why = _unfit(registry.load("tasks", table["task"]))
    if time is not None:
        why = f"rows are split by {time!r}, and a fold would learn from what comes after its val"
    if asked is None:
        few = table["rows"]["train"] + table["rows"]["val"] < FEW_ROWS
        return AUTO_FOLDS if few and not why else 1
    if why:
        raise ConfigError(f"--folds {asked}: {why}", "Leave it out, or say --folds none.")
    return asked


def feasible(count: int, asked: bool, keep_val: bool, context: Context) -> int:
    """The count, if the rows of train can be dealt so; where it was not asked for and they cannot, 1, which is said.

    Raises:
        ConfigError: it was asked for.
    """
    if count == 1:
        return 1
    try:
        folds_of(Dataset.open(context.root), count, keep_val, context.seed)
    except ConfigError as error:
        if asked:
            raise
        context.console.note(f"no folds: {error.message}")
        return 1
    return count


def _unfit(kind: type[Task]) -> str:
    """Why models for such targets are not averaged over folds; empty where they are."""
    plain = kind.needs_target and kind.outputs.decides
    if plain and not (kind.gives_embeddings or kind.compares_rows or kind.compares_columns):
        return ""
    return f"folds are for classes, labels and numbers, whose outputs can be averaged; the task is {registry.name_of(kind)}"


def deal(count: int, keep_val: bool, context: Context) -> None:
    """Makes the preprocessed table of each further fold: the same files, other splits. Folds beyond `count` go.

    Raises:
        ConfigError: train is too small for so many parts.
    """
    dataset = Dataset.open(context.root)
    of_row = folds_of(dataset, count, keep_val, context.seed)
    for number in range(2, count + 1):
        deal_one(number, count, of_row, keep_val, dataset, context)
    for folder in (context.root / layout.FOLDS).glob("*"):
        if folder.name.isdecimal() and int(folder.name) > count:
            context.console.note(f"{folder} is taken away: there are {count} folds now")
            disk.removed(folder)


def leave_out(context: Context) -> None:
    """Takes the average away, and the refit, so that the single pipeline is the model; the folds themselves stay."""
    if store.exists(context.root, layout.REFIT):
        with locked(context.root, layout.REFIT):
            disk.removed(context.root / layout.REFIT)
    if store.exists(context.root, layout.FOLDED):
        with locked(context.root, layout.FOLDED):
            disk.removed(context.root / layout.FOLDED)
        said = f"its folds stay in {context.root / layout.FOLDS}, and are joined again at once"
        context.console.note(f"{layout.FOLDED} is taken away, since no folds are wanted; {said}")


def said_of(context: Context) -> None:
    """Says what becomes of an average of folds that is there, where a run makes none."""
    if not store.exists(context.root, layout.FOLDED):
        return
    stays = loading.fresh_folded(context.root) is not None
    context.console.note(
        f"{layout.FOLDED}, the average of folds, {'stays the model' if stays else 'is out of date, and no longer the model'}: "
        + ("--folds none for the single pipeline" if stays else "--folds K makes it again")
    )


def taken_over(methods: Sequence[str], context: Context) -> Taken:
    """What is trained in the further folds: the best of these methods in the root, and the encoders that they fuse."""
    fusions = [own for own in loading.fresh_fusions(context.root) if own.config["method"] in methods]
    fusions = [own for own in fusions if own.config["encoders"] == fusions[0].config["encoders"]][:MOST_METHODS]
    encoders: dict[str, list[str]] = {}
    for choice in fusions[0].config["encoders"].values():
        encoders.setdefault(choice["input"], []).append(choice["architecture"])
    dataset = Dataset.open(context.root)
    of_owners = {dataset.owner(name): own for name, own in encoders.items()}
    shelved = [layout.encoder(owner, own) for owner, every in of_owners.items() for own in every if shelf.holds(own)]
    tuned = {name: store.read(context.root, name, "encoder", "").config["encoder"]["tune"] for name in shelved}
    return Taken(tuple(own.config["method"] for own in fusions), encoders, of_owners, tuned)


def context_of(number: int, count: int, context: Context) -> Context:
    """The context of one fold; what was typed for parts that lost a race is not held against it."""
    metrics = store.read(layout.fold(context.root, number), layout.PREPROCESS, "preprocess", "mmcli run TABLE").metrics
    context.console.note(f"fold {number} of {count}: {metrics['train']:,} rows train, {metrics['val']:,} others are val")
    return quietly(number, context)


def check_refit(fusion: FuseOptions, context: Context) -> None:
    """Looks at what is to be trained, before it is.

    Raises:
        ConfigError: it chooses by val in a way that folds cannot stand for.
    """
    if fusion.train_encoders:
        said = "encoders and F train together for as long as val says, in two parts"
        raise ConfigError(f"--refit with --train-encoders: {said}", "Leave one of them out.")
    for stage in ("train-encoder", "fuse"):
        if TrainingConfig.of(context.settings.for_stage(stage)).soup:
            raise ConfigError("--refit with training.soup: it picks epochs by val", "Leave one of them out.")


def deal_refit(count: int, keep_val: bool, taken: Taken, context: Context) -> tuple[Taken, Context]:
    """Makes the preprocessed table in which all labelled rows are train; gives the method that is trained there, the one that
    folds were joined by, and the context, which says what the folds have come to.

    Raises:
        ArtifactError: the folds are not complete, or not joined.
    """
    dataset = Dataset.open(context.root)
    deal_one(0, count, folds_of(dataset, count, keep_val, context.seed), keep_val, dataset, context)
    folded = store.read(context.root, layout.FOLDED, "folded", loading.WHOLE[layout.FOLDED])
    method, fixed = folded.config["method"], fixed_by(sound(folded, count, context))
    longest = max(own["epochs"] for own in fixed.encoders.values())
    rows = store.read(layout.fold(context.root, 0), layout.PREPROCESS, "preprocess", "mmcli run TABLE").metrics["train"]
    context.console.note(
        f"refit: all {rows:,} rows train, for as many epochs as the folds' best have on average: encoders up to {longest}, "
        f"{layout.short(method)} {fixed.epochs}"
    )
    return replace(taken, methods=(method,)), replace(quietly(0, context), fixed=fixed)


def quietly(number: int, context: Context) -> Context:
    """In a fold's root, with warnings alone said."""
    about = f"fold {number}" if number else layout.REFIT
    console = context.console if context.console.verbose else context.console.hushed(about)
    settings = replace(context.settings, typed=())
    return replace(context, root=layout.fold(context.root, number), console=console, settings=settings)


def say_of_time(number: int, context: Context) -> None:
    """Says which encoders of a fold had no time for all their epochs: its own console says nothing."""
    root = layout.fold(context.root, number)
    names = [name for name in layout.encoder_names(root) if store.exists(root, name)]
    read = [store.read(root, name, "encoder", "mmcli run TABLE --folds") for name in names]
    cut = [str(own.name) for own in read if own.metrics["cut_by_time"]]
    if cut:
        called = f"fold {number}" if number else layout.REFIT
        context.console.note(f"{called}: the share of --time-budget was over before all epochs were: {', '.join(cut)}")


def run(count: int, keep_val: bool, taken: Taken, context: Context) -> Outcome:
    """Joins the folds into `folded/`: out-of-fold outputs of every labelled row, by which the method is picked; the average of
    all folds; and whether it is taken for the model.

    Raises:
        ArtifactError: a fold is not complete.
    """
    return join(count, keep_val, taken.methods, context)
