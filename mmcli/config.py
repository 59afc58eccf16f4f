"""Options that live in files, the environment and `--set`: gathered, checked at once, handed to the parts.

A part's options are a frozen pydantic model, `Config`, in the part's own file. Keys are written `room.part.option`:

    encoder.cnn.width = 64        fusion.gated.hidden = 128        modality.text.vocab_size = 8000
    task.classification.label_smoothing = 0.1                      training.epochs = 30

A table named after a command holds for that command only: `[fuse.training]`, `--set fuse.training.epochs=60`.
Every unknown or wrong key is reported in one go, before torch is imported or a file is touched.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmcli import registry
from mmcli.errors import ConfigError, MmcliError, combine, unknown

ROOM_OF_KEY = {
    "modality": "modalities",
    "encoder": "encoders",
    "fusion": "fusions",
    "task": "tasks",
    "optimization": "optimizations",
}
COMMANDS = (
    "inspect",
    "preprocess",
    "train-encoder",
    "fuse",
    "optimize",
    "evaluate",
    "run",
    "predict",
    "export",
    "status",
    "list",
    "check",
)

SECTIONS_OF_STAGE = {
    "inspect": ("modality", "task"),
    "preprocess": ("modality", "task"),
    "train-encoder": ("encoder", "training", "compute"),
    "fuse": ("fusion", "training"),
    "optimize": ("optimization", "training"),
}
"""The sections that each stage looks at."""


class Config(BaseModel):
    """What every part's `Config` derives from: frozen, keyword-only, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class BackboneConfig(Config):
    """What encoders share whose network comes from another library: where its weights are from, and which of them train."""

    weights: str = "none"
    """Where to start (--weights): `none` at random, `default` those published with the name (downloaded, if they are not here),
    or the path of a safetensors file or of a folder with one."""
    tune: str = Field("full", pattern=r"^(full|head|lora|last-[1-9][0-9]*)$")
    """What trains of a pretrained network (--tune): `full` all of it, `head` nothing, so that it runs once over each row,
    `last-2` its last two blocks, `lora` low-rank additions to its linear layers."""
    layer_decay: float = Field(0.75, gt=0, le=1)
    """Factor on a pretrained network's learning rate from each block to the one before it."""
    lora_rank: int = Field(8, ge=1, le=512)
    """Rank of the additions of `lora`."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the pooled features."""


class TrainingConfig(Config):
    """How the one training loop runs. Stages and architectures bring their own defaults."""

    epochs: int = Field(40, ge=1)
    """Passes over the training rows, at most; early stopping may end sooner."""
    batch_size: int = Field(64, ge=1)
    """Rows in one optimizer step."""
    accumulate: int = Field(1, ge=1)
    """Parts that a batch is computed in, one after the other, their gradients added up: less memory for the same step."""
    recompute: bool = False
    """Whether what an encoder's blocks keep for the backward pass is computed again instead: less memory, slower."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of the schedule: linear warm-up, then a cosine to zero."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of all steps spent warming up."""
    clip_norm: float = Field(1.0, ge=0)
    """Largest norm of the gradient; 0 switches clipping off."""
    patience: int = Field(12, ge=1)
    """Epochs without a better val score or a lower val loss before training stops."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the best on val; or the last, at the end of the learning rate's descent, unless the best
    is better beyond the noise of the val rows. With `last`, patience ends nothing; asking for a patience asks for `best`."""
    soup: int = Field(0, ge=0, le=32)
    """Epochs whose weights may be averaged in the end, the best on val; each is taken in only if val is better for it. 0 keeps
    the weights of one epoch."""
    ema: float = Field(0.98, ge=0, lt=1)
    """Decay of the running average of the weights that is validated and kept; 0 keeps the raw weights."""
    augment: Literal["none", "light", "strong"] = "light"
    """Random changes to training inputs (--augment), as each modality and encoder knows them: shifts and brightness of images,
    blanked stretches of sound, dropped tokens and fields."""
    mix: Literal["none", "mixup", "cutmix"] = "none"
    """Rows of a batch mixed in pairs, with their targets: blended (Zhang 2018), or a piece of one put into the other (Yun
    2019); for pictures, sound and clips."""
    modality_dropout: float = Field(0.0, ge=0, lt=1)
    """While fusing: how often each input of a training row is taken away, never all of them (--modality-dropout)."""
    decisions: bool = True
    """While fusing features: the columns' own predictions, weighted, are added to what F and its head make of the features,
    so that F learns what they do not say. Methods that fuse decisions have nothing else."""
    swap: bool = True
    """While fusing on embeddings: each input's features are swapped with another row's as often as makes the input's own score
    on train what it is on val. Encoders know their train rows by heart; F must not learn to trust that."""
    auxiliary: float = Field(0.3, ge=0)
    """Weight of each column's own loss where encoders and fusion are trained together."""
    warm_epochs: int = Field(20, ge=1)
    """Epochs of the self-supervised warm start, where there is one (--unlabelled use)."""
    balance: float = Field(0.0, ge=0)
    """Where encoders and fusion train together: how strongly the gradient of a column that is ahead is held back (OGM)."""
    anchor: float = Field(0.0, ge=0)
    """The same: weight of the distance of each column's features from those of its own training (unimodal teachers)."""
    align: float = Field(0.0, ge=0)
    """The same: weight of a contrastive loss that brings the columns of a row together (--align)."""
    checkpoint_every_s: float = Field(15.0, ge=0)
    """Seconds between checkpoints; 0 writes one after every step."""


class ComputeConfig(Config):
    """How training computes, where it is not to be measured; the precision has a flag of its own (--precision)."""

    memory_format: Literal["auto", "channels-last", "contiguous"] = "auto"
    """How pictures lie in memory."""
    optimizer: Literal["auto", "fused", "foreach"] = "auto"
    """Whether AdamW steps in one kernel, or in one for each operation."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether the network goes through torch.compile; by itself only on a GPU."""
    threads: int = Field(0, ge=0, le=1024)
    """Cores that one process computes on; 0: as many as are faster."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What the user says of the columns; empty means: find out."""

    target: tuple[str, ...] = ()
    """Several only where several numbers are predicted at once."""
    task: str | None = None
    inputs: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    types: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    id: str | None = None
    each: bool = False
    """Whether each number and category is an input of its own, rather than all of them one."""
    media_root: str | None = None
    """A folder or an address."""


C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Settings:
    """Every option given outside of a command's own flags, as one nested dict."""

    values: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def gather(cls, file: Path | None = None, assignments: Sequence[str] = (), command: str = "") -> Self:
        """Reads the file, then lets `--set` override it, and checks every key and value of both.

        A file may serve several commands; what is typed after `command` must be of use to it.

        Raises:
            ConfigError: naming each wrong key or value, with where it stands and the nearest right one.
        """
        values = read_toml(file) if file else {}
        errors: list[MmcliError] = []
        for text in assignments:
            key, equals, value = text.partition("=")
            if not equals or not key.strip():
                errors.append(ConfigError(f"--set {text!r} is not of the form key=value.", "E.g. encoder.cnn.width=64"))
                continue
            _assign(values, key.strip().split("."), _parse_value(value.strip()))
        origin = str(file) if file and not assignments else "--set" if not file else f"{file} or --set"
        errors += list(_check(values, origin)) or list(_useless(assignments, command))
        if errors:
            raise combine(errors)
        return cls(values)

    def for_stage(self, *stages: str) -> Settings:
        """These settings with the stage's own table, or those of several one after the other, laid over the general ones."""
        values = {k: v for k, v in self.values.items() if k not in COMMANDS}
        for stage in stages:
            own = {key: value for key, value in self.values.get(stage, {}).items() if isinstance(value, dict)}
            values = _merge(values, own)
        return Settings(values)

    def part(self, room: str, name: str, **defaults: Any) -> Any:
        """The `Config` of a part: class defaults, then `defaults`, then what the user said."""
        info = registry.resolve(room, name)
        given = self.values.get(_KEY_OF_ROOM[room], {})
        said: dict[str, Any] = {}
        for spelling in dict.fromkeys([*info.aliases, info.name.replace("-", "_"), info.name, name]):
            said |= given.get(spelling, {})
        if registry.variant_of(room, name):
            said[info.variant_option] = registry.variant_of(room, name)
        config = registry.config_of(registry.load(room, name))
        return validate(config, {**defaults, **said}, f"{_KEY_OF_ROOM[room]}.{info.name}")

    def compute(self) -> ComputeConfig:
        """How to compute, where it is said."""
        return validate(ComputeConfig, self.values.get("compute", {}), "compute")

    def training(self, **defaults: Any) -> TrainingConfig:
        """How to train: class defaults, then `defaults`, then what the user said."""
        said = self.values.get("training", {})
        if "patience" in said:
            defaults = {**defaults, "keep": "best"}
        return validate(TrainingConfig, {**defaults, **said}, "training")


_KEY_OF_ROOM = {room: key for key, room in ROOM_OF_KEY.items()}


def validate(config: type[C], values: Mapping[str, Any], where: str) -> C:
    """A config from plain values.

    Raises:
        ConfigError: naming `where`, the option, the value and what was expected.
    """
    try:
        return config.model_validate(dict(values))
    except ValidationError as error:
        raise combine([ConfigError(text) for text in _explain(error, config, where)]) from None


def read_toml(file: Path) -> dict[str, Any]:
    """The file as a nested dict; every failure names the file."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"--config {file}: there is no such file", f"Looked in {file.absolute().parent}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"--config {file} is not valid TOML: {error}") from None


def _useless(assignments: Sequence[str], command: str) -> Iterator[MmcliError]:
    """What `--set` says that the command would not look at."""
    if command not in SECTIONS_OF_STAGE:
        return
    for text in assignments:
        first, _, rest = text.partition("=")[0].strip().partition(".")
        stage, section = (first, rest.partition(".")[0]) if first in COMMANDS else (command, first)
        if stage != command or section not in SECTIONS_OF_STAGE[command]:
            takers = [name for name, sections in SECTIONS_OF_STAGE.items() if section in sections and stage in {name, command}]
            remedy = f"It is for: mmcli {', mmcli '.join(takers)}." if takers else ""
            yield ConfigError(f"--set {text}: mmcli {command} has no use for {section!r} options here.", remedy)


def _check(values: dict[str, Any], origin: str) -> Iterator[MmcliError]:
    for key, value in values.items():
        if key in COMMANDS:
            nested = {k: v for k, v in value.items() if isinstance(v, dict)} if isinstance(value, dict) else {}
            yield from (_prefixed(error, key) for error in _check(nested, origin))
        elif key == "training":
            yield from _check_section(TrainingConfig, value, "training", origin)
        elif key == "compute":
            yield from _check_section(ComputeConfig, value, "compute", origin)
        elif key in ROOM_OF_KEY:
            yield from _check_room(key, value, origin)
        else:
            yield ConfigError(f"{origin}: {unknown('section', key, ['training', 'compute', *ROOM_OF_KEY, *COMMANDS])}")


def _check_room(key: str, value: Any, origin: str) -> Iterator[MmcliError]:
    if not isinstance(value, dict):
        yield ConfigError(f"{origin}: {key} needs a part and an option, e.g. {key}.NAME.OPTION = ...")
        return
    for name, options in value.items():
        try:
            config = registry.config_class(ROOM_OF_KEY[key], name)
        except ConfigError as error:
            yield ConfigError(f"{origin}: {key}.{name}: {error.message}", error.remedy)
            continue
        yield from _check_section(config, options, f"{key}.{name}", origin)


def _check_section(config: type[Config], options: Any, where: str, origin: str) -> Iterator[MmcliError]:
    if not isinstance(options, dict):
        yield ConfigError(f"{origin}: {where} needs an option: {', '.join(sorted(config.model_fields))}.")
        return
    try:
        config.model_validate(options)
    except ValidationError as error:
        yield from (ConfigError(f"{origin}: {text}") for text in _explain(error, config, where))


def _explain(error: ValidationError, config: type[Config], where: str) -> Iterator[str]:
    for problem in error.errors():
        option = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            yield unknown(f"option {where}.{option}:", option, config.model_fields).replace("option ", "", 1)
        else:
            reason = problem["msg"][:1].lower() + problem["msg"][1:]
            yield f"{where}{'.' if option else ''}{option} = {problem['input']!r}: {reason}."


def _prefixed(error: MmcliError, command: str) -> MmcliError:
    return ConfigError(f"[{command}] {error.message}", error.remedy)


def _parse_value(text: str) -> Any:
    """A TOML value where the text is one (`64`, `true`, `[1, 2]`), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _assign(values: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {'.'.join(path)}: {key} already has the value {inner!r}")
        values = inner
    values[path[-1]] = value


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
