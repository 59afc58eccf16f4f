"""What is to be trained: which architectures for a column, with their options resolved and checked."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmcli import registry
from mmcli.artifacts import layout, store
from mmcli.config import validate
from mmcli.data.dataset import Dataset
from mmcli.data.inputs import Input
from mmcli.encoders import Backbone, Encoder
from mmcli.errors import ConfigError
from mmcli.jobs.encoder import MIXABLE
from mmcli.layers.ngrams import spelt
from mmcli.layers.starting import shapes_alone
from mmcli.models.recipe import build_encoder, head_of
from mmcli.options.train_encoder import Options
from mmcli.options.training import AUTO, asked
from mmcli.pretrained import conversion, shelf
from mmcli.pretrained import weights as pretrained
from mmcli.pretrained.splicing import Cut
from mmcli.signals import Source
from mmcli.stages import Context
from mmcli.stages.train_encoder.steps import with_room
from mmcli.tasks import Task
from mmcli.training.config import ComputeConfig, TrainingConfig
from mmcli.training.device import Compute

READS = {
    "grid": "pictures",
    "ids": "text",
    "sequence": "sequences of vectors",
    "spectrogram": "sound",
    "clip": "clips",
    "vector": "vectors",
    "fields": "numbers, categories and dates",
}
"""The kinds of signal, as what a person has."""
ALIGNED = {"epochs": 30, "patience": 8, "batch_size": 128}
"""How long encoders train of columns that belong together, each row of a batch being held against all others."""
COMPARED = {"epochs": 30, "patience": 12}
"""How long encoders train whose columns are compared: each cell of a batch is contrasted with all others."""
STEPS_TO_WRITE, MOST_EPOCHS_TO_WRITE = 6_000, 200
"""Steps that learning to write texts from texts takes, and the epochs that they may come to where rows are few."""
LEARNS_NOTHING = {"epochs": 2}
"""The same of encoders that have nothing to learn, beside those that do."""
BOUNDED = 16
"""Tokens of a row that are kept where that is enough."""
OF_FOLDER = {"weights": "default", "convert": True}
"""How models of `MMCLI_MODELS` are read: by what the column holds."""
MOST_UNKNOWN = 0.2
"""Share of a column's tokens that such a model may not know."""
TOLD_BY = 500
"""Train rows that tell it."""


@dataclass(frozen=True)
class Candidate:
    column: str
    architecture: str
    config: Any
    head: dict[str, Any]
    """That of the column by itself, as a recipe names it."""
    training: TrainingConfig
    tokens: int
    """Most tokens of a row that are kept among its embeddings; 0: all."""
    races: bool
    """Whether it came by `auto`."""
    fingerprint: str
    note: str = ""
    """What was decided that is to be said."""
    fixed: Mapping[str, Any] | None = None
    """What val would decide of it, where there is none: see `training.fixed.Fixed`."""
    frozen: Candidate | None = None
    """The same read as it is, for a race that has no time to tune it."""

    @property
    def name(self) -> str:
        return layout.encoder(self.column, self.architecture)


@dataclass(frozen=True)
class Bench:
    """What training an encoder takes."""

    options: Options
    dataset: Dataset
    compute: Compute
    context: Context
    seconds: float | None = None
    """How long an input's candidates may train, all together."""
    computed: dict[tuple[str, str], Source] = field(default_factory=dict)
    """(fingerprint of a candidate whose network does not train, input) -> what it makes of all rows, while they are needed."""
    cuts: dict[str, Cut | None] = field(default_factory=dict)
    """Fingerprint of a candidate -> where its network is cut, so that its frozen part runs once; None where it runs whole."""
    left_out: dict[str, ConfigError] = field(default_factory=dict)
    """Candidate of `MMCLI_MODELS` -> why it does not race."""

    def forget(self, candidate: Candidate) -> None:
        """Lets go of what its network has made of rows."""
        own = {candidate.fingerprint, candidate.frozen and candidate.frozen.fingerprint}
        for key in [key for key in self.computed if key[0] in own]:
            del self.computed[key]


def candidates_of(columns: Sequence[str], bench: Bench) -> dict[str, list[Candidate]]:
    """Input -> its candidates. Where no inputs are named, those that no architecture asked for reads are told and left out.

    Raises:
        ConfigError: an architecture does not read an input that is named, or none reads any.
    """
    options, found = bench.options, {column: bench.dataset.input(column) for column in columns}
    given = ", ".join(options.architectures)
    if options.columns:
        for own in found.values():
            for architecture in options.chosen.get(own.name, options.architectures):
                if not _reads(architecture, own):
                    raise ConfigError(f"--arch {_unfit(architecture, own)}", _instead(own))
        return {column: candidates_for(column, bench) for column in columns}
    fit = [column for column, own in found.items() if any(_reads(name, own) for name in options.architectures)]
    if not fit:
        lines = "; ".join(f"{own.name!r} is {_what(own)}: {', '.join(own.known_encoders)}" for own in found.values())
        raise ConfigError(f"--arch {given} reads none of the inputs", f"What reads them: {lines}.")
    for own in (found[column] for column in columns if column not in fit):
        bench.context.console.note(f"input {own.name!r} is not trained: it is {_what(own)}, which {given} cannot read")
    return {column: candidates_for(column, bench) for column in fit}


def candidates_for(column: str, bench: Bench) -> list[Candidate]:
    """The architectures asked for that take the column, their options checked against it."""
    options, found = bench.options, bench.dataset.input(column)
    names: dict[str, bool] = {}
    for architecture in options.chosen.get(column, options.architectures):
        if architecture == AUTO:
            rows, task = len(bench.dataset.splits["train"]), bench.dataset.task
            if task.compares_columns and len(bench.dataset.readers(column)) > 1:
                names |= dict.fromkeys(found.first.plain_encoders, False)  # first: what time they leave is the others'
            if task.aligns_columns and not found.joined:
                names |= dict.fromkeys(found.first.aligning_encoders, False)
            fitting = found.fitting_encoders(
                rows,
                bench.compute.device.type != "cpu",
                task.tokens == "whole",
                task.gives_embeddings,
                _seconds(column, bench),
            )
            names |= dict.fromkeys([*fitting, *_of_folder(found, task)], True)
        elif _reads(architecture, found):
            names.setdefault(registry.canonical("encoders", architecture), False)
    made = []
    for name, races in names.items():
        try:
            made.append(_with_frozen(_candidate(column, name, races, found, bench), found, bench))
        except ConfigError as error:
            if not (races and shelf.holds(name)):
                raise
            bench.left_out[f"{column}: {name}"] = error
    return made


def _with_frozen(candidate: Candidate, found: Input, bench: Bench) -> Candidate:
    """With itself as it is, where it came from `MMCLI_MODELS`, is to be tuned though nobody said so, and time is limited."""
    limited = bench.options.budget.seconds or bench.options.time_budget
    if not (candidate.races and shelf.holds(candidate.architecture) and limited) or bench.options.tune_models == "head":
        return candidate
    own = replace(bench, options=replace(bench.options, tune_models="head"))
    frozen = _candidate(candidate.column, candidate.architecture, True, found, own)
    return candidate if frozen.config.tune == candidate.config.tune else replace(candidate, frozen=frozen)


def _of_folder(found: Input, task: Task) -> list[str]:
    """The models of `MMCLI_MODELS` for an input: of texts as targets, whose every step is read, none."""
    if found.joined or task.tokens == "whole":
        return []
    return [model.architecture for model in shelf.look().models if model.modality == found.modality]


def _reads(architecture: str, found: Input) -> bool:
    return architecture == AUTO or found.spec.kind in registry.load("encoders", architecture).kinds


def _what(found: Input) -> str:
    """`text`; of one column that is a field, which of them."""
    own = {"number": "numbers", "category": "categories", "date": "dates"}
    return own.get(found.modality, READS[found.spec.kind])


def _unfit(architecture: str, found: Input) -> str:
    """`cnn reads pictures and sound, the input 'text' is text`."""
    takes = sorted(READS[kind] for kind in registry.load("encoders", architecture).kinds)
    said = " and ".join(filter(None, [", ".join(takes[:-1]), takes[-1]]))
    return f"{short_name(architecture)} reads {said}, the input {found.name!r} is {_what(found)}"


def _instead(found: Input) -> str:
    name = found.known_encoders[0]
    known = ", ".join(found.known_encoders)
    return f"What reads it: {known}. E.g. {shlex.join(['mmcli', 'train-encoder', found.name, '--arch', name])}"


def _candidate(column: str, name: str, races: bool, found: Input, bench: Bench) -> Candidate:
    options, context = bench.options, bench.context
    settings = context.settings.for_stage("train-encoder")
    literals = registry.resolve("encoders", name).literals
    kind: type[Encoder] = registry.load("encoders", name)
    compared = bench.dataset.task.compares_columns and len(bench.dataset.readers(column)) > 1
    own = COMPARED if compared else ALIGNED if bench.dataset.task.aligns_columns else {}
    own = LEARNS_NOTHING if compared and not races and name in found.first.plain_encoders else own
    own = own if literals.get("TRAINING", {}).get("epochs", 40) > own.get("epochs", 0) else {}
    task, usual = bench.dataset.task, {**literals.get("TRAINING", {}), **own}
    head = head_of(task, settings, options.head, task.head_for(found.spec.kind, found.in_order(name), _seconds(column, bench)))
    if head["name"] == "decoder" and found.spec.kind == "ids":
        usual |= _long_enough(usual, len(bench.dataset.splits["train"]))
    training = _training(options, TrainingConfig.of(settings, **usual))
    defaults = {**literals.get("AUGMENT", {}).get(training.augment, {}), **(literals.get("COMPARING", {}) if compared else {})}
    defaults |= literals.get("TEXTS", {}).get(found.spec.kind, {}) if task.tokens == "whole" else {}
    own_folder = shelf.holds(name)
    tune = options.tune_each.get(layout.encoder(column, name), options.tune_models)
    defaults |= {**OF_FOLDER, "tune": tune} if own_folder else {}
    config = settings.part("encoders", name, **defaults)
    flags = {"weights": None if own_folder else options.weights, "tune": options.tune}
    flags = {key: value for key, value in flags.items() if value is not None and hasattr(config, key)}
    config = kind.resolve(validate(type(config), {**config.model_dump(), **flags}, f"encoder.{name}"))
    starts_from, note = pretrained.digest(config), ""
    if starts_from:
        defaults = {**literals.get("TRAINING", {}), **pretrained.training(config.tune)}
        training = _training(options, TrainingConfig.of(settings, **defaults))
        if own_folder and _may_run_once(kind, config, training, found, options):
            training = _training(options, TrainingConfig.of(settings, **defaults, augment="none"))
        config, note = _for_column(column, name, kind, config, races, found, bench)
    if task.outputs.decides and "dim" not in settings.said_of("encoders", name):
        config = kind.suited(config, task.decision.width)
    if kind.may_halve and config.stride == 4 and "stride" not in settings.said_of("encoders", name):
        config, note = with_room(config, head, column, bench.dataset)
    with shapes_alone():  # says at once whether the two fit
        build_encoder(name, config.model_dump(), found.spec)
    parent = bench.dataset.artifact.parent(column)
    tokens = {"bounded": BOUNDED, "whole": 0}[task.tokens] if options.tokens is None else options.tokens
    said = [config.model_dump(), head, training.told(), tokens, options.unlabelled, options.folds, starts_from]
    computed = ComputeConfig.of(settings).model_dump(exclude_defaults=True)
    said += [computed] if computed else []
    said += ["batch size auto"] if options.batch_size == 0 else []
    said += [["time", options.time_budget]] if options.time_budget else []
    fixed = None if context.fixed is None else dict(context.fixed.encoders[layout.encoder(column, name)])
    said += [] if fixed is None else [["fixed", fixed]]
    sources = filter(None, map(registry.source_digest, (kind, registry.load("heads", head["name"]))))
    placed = [context.seed, context.device, context.precision, *sources]
    digest = store.digest([parent, said, placed])
    return Candidate(column, name, config, head, training, tokens, races, digest, note, fixed)


def _may_run_once(kind: type[Encoder], config: Any, training: TrainingConfig, found: Input, options: Options) -> bool:
    """Whether the frozen part of a network may run once if its input does not vary, as far as is known before it is built."""
    mixed = training.mix != "none" and found.spec.kind in MIXABLE
    return issubclass(kind, Backbone) and kind.may_split(config) and not mixed and not options.unlabelled


def _long_enough(usual: Mapping[str, Any], rows: int) -> dict[str, int]:
    """More epochs, and more patience with them, where train is so small that the usual ones are too few steps to learn to write
    texts from texts."""
    whole = {**TrainingConfig().model_dump(), **usual}
    epochs = min(-(-STEPS_TO_WRITE * whole["batch_size"] // max(rows, 1)), MOST_EPOCHS_TO_WRITE)
    return {"epochs": epochs, "patience": epochs // 4} if epochs > whole["epochs"] else {}


def _seconds(column: str, bench: Bench) -> float:
    """How much sound train has, in seconds; 0 of other inputs."""
    step_s = bench.dataset.input(column).first.step_s
    lengths = bench.dataset.column(column).lengths if step_s else None
    return 0.0 if lengths is None else float(lengths[bench.dataset.splits["train"]].sum()) * step_s


def _training(options: Options, training: TrainingConfig) -> TrainingConfig:
    """How to train, with what the command's own flags say."""
    flags = asked(training.model_dump(), options.epochs, options.batch_size, options.learning_rate)
    return training.model_copy(update=flags | ({} if options.augment is None else {"augment": options.augment}))


def _for_column(
    column: str, name: str, kind: type[Encoder], config: Any, races: bool, found: Input, bench: Bench
) -> tuple[Any, str]:
    """The config, and what is to be said of it: published weights want the very preprocessing that they were trained with, or
    convert what the column holds.

    Raises:
        ConfigError: they do neither, or hardly know the column's tokens, and nobody asked for them by name.
    """
    converts = getattr(config, "convert", False)
    if found.joined or not (config.weights == "default" or converts):
        return config, ""
    for modality, wanted in kind.preprocessing(config).items():
        wrong = found.first.disagreements(wanted) if modality == found.modality else []
        if wrong and converts and modality == "text":
            data = Path(wanted["tokenizer"]).read_bytes()
            how = conversion.of_texts(data, wanted["max_tokens"])
            return config.model_copy(update={"conversion": how}), _of_tokens(column, data, races, found, bench)
        if wrong and converts and (colours := found.first.colours()) is not None:
            how = conversion.of_pixels(wanted, colours)
            return config.model_copy(update={"conversion": how}), f"it sees what is stored, rescaled to {how['size']} pixels"
        if wrong:
            may = hasattr(config, "convert") and (modality == "text" or found.first.colours() is not None)
            also = f", or let it convert what is stored: --set encoder.{name.partition(':')[0]}.convert=true" if may else ""
            raise ConfigError(
                f"the weights of {name} were trained with other preprocessing than the input {column!r}: {'; '.join(wrong)}",
                f"Preprocess for it: mmcli preprocess TABLE --for {shlex.quote(f'{column}={name}')}{also}, or start at random: "
                "--weights none.",
            )
    return config, ""


def _of_tokens(column: str, data: bytes, races: bool, found: Input, bench: Bench) -> str:
    """What is to be said of a network with a tokenizer.json of its own: how many of a column's tokens it does not know, by the
    first rows of train."""
    rows = bench.dataset.column(column).select(bench.dataset.splits["train"][:TOLD_BY])
    texts = spelt(rows, found.spec.pieces, small=False)
    share = conversion.unknown_share(conversion.tokenizer(data, bench.dataset.input(column).first.config.max_tokens), texts)
    if races and share > MOST_UNKNOWN:
        raise ConfigError(
            f"its tokenizer does not know {share:.0%} of the tokens of {column!r}", "To train it all the same, name it: --arch."
        )
    return f"it tokenises the texts anew as they are stored, {share:.1%} of its tokens being unknown to it"


def short_name(architecture: str) -> str:
    """An architecture that is named by a folder, by the last part of its path; one in a file, by its class."""
    kind, colon, name = layout.short(architecture).partition(":")
    return f"{kind}:.../{Path(name).name}" if colon and len(Path(name).parts) > 2 else architecture
