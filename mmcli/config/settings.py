"""Options that live in files, the environment and `--set`: gathered, checked at once, handed to the parts.

A part's options are a frozen pydantic model, `Config`, in the part's own file. Keys are written `room.part.option`:

    encoder.cnn.width = 64        fusion.gated.hidden = 128        modality.text.vocab_size = 8000
    task.classification.label_smoothing = 0.1                      training.epochs = 30

A table named after a command holds for that command only: `[fuse.training]`, `--set fuse.training.epochs=60`.
Every unknown or wrong key is reported in one go, before torch is imported or a file is touched.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from mmcli import registry
from mmcli.config.base import C, Config, explain, validate
from mmcli.errors import ConfigError, MmcliError, combine, unknown

ROOM_OF_KEY = {
    "modality": "modalities",
    "encoder": "encoders",
    "fusion": "fusions",
    "head": "heads",
    "task": "tasks",
    "optimization": "optimizations",
}
SECTIONS = {"training": "mmcli.training.config:TrainingConfig", "compute": "mmcli.training.config:ComputeConfig"}
"""Section that is no part's -> where its options stand; named, like parts, so that this room need not know them."""
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
    "config",
    "list",
    "check",
)

SECTIONS_OF_STAGE = {
    "inspect": ("modality", "task"),
    "preprocess": ("modality", "task"),
    "train-encoder": ("encoder", "head", "training", "compute"),
    "fuse": ("fusion", "head", "training"),
    "optimize": ("optimization", "training"),
}
"""The sections that each stage looks at."""
TAKERS_OF_TRAINING = {
    **dict.fromkeys(("mix", "consistency", "recompute", "warm_epochs"), ("train-encoder",)),
    **dict.fromkeys(("modality_dropout", "decisions", "swap", "auxiliary", "balance", "anchor", "align"), ("fuse", "optimize")),
}
"""Option of `training` that not all stages which train look at -> those that do."""


@dataclass(frozen=True)
class Settings:
    """Every option given outside of a command's own flags, as one nested dict."""

    values: dict[str, Any] = field(default_factory=dict)
    typed: tuple[str, ...] = ()
    """What came by `--set`, as typed: a file may serve several commands, but this must be of use to what is done."""
    command: str = ""
    """The stage that it was typed after; empty after a command of several."""

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
        return cls(values, tuple(text.strip() for text in assignments), command)

    def for_stage(self, *stages: str) -> Settings:
        """These settings with the stage's own table, or those of several one after the other, laid over the general ones."""
        values = {k: v for k, v in self.values.items() if k not in COMMANDS}
        for stage in stages:
            own = {key: value for key, value in self.values.get(stage, {}).items() if isinstance(value, dict)}
            values = _merge(values, own)
        return replace(self, values=values)

    def of_command(self, command: str) -> Settings:
        """These settings with the table of a command of several stages laid over those of all, the stages' own kept."""
        own = {key: value for key, value in self.values.get(command, {}).items() if isinstance(value, dict)}
        return replace(self, values=_merge(self.values, own))

    def over(self, defaults: Mapping[str, Any]) -> Settings:
        """These settings over others, given by their dotted keys."""
        values: dict[str, Any] = {}
        for key, value in defaults.items():
            _assign(values, key.split("."), value)
        return replace(self, values=_merge(values, self.values))

    def part(self, room: str, name: str, **defaults: Any) -> Any:
        """The `Config` of a part: class defaults, then `defaults`, then what the user said."""
        info, said = registry.resolve(room, name), self.said_of(room, name)
        if registry.variant_of(room, name):
            said[info.variant_option] = registry.variant_of(room, name)
        config = registry.config_of(registry.load(room, name))
        return validate(config, {**defaults, **said}, f"{_KEY_OF_ROOM[room]}.{_known_as(room, name)}")

    def said_of(self, room: str, name: str) -> dict[str, Any]:
        """What the user said of a part."""
        given, said = self.values.get(_KEY_OF_ROOM[room], {}), dict[str, Any]()
        for spelling in spellings(room, name):
            said |= given.get(spelling, {})
        return said

    def typed_as(self, key: str, stage: str) -> str:
        """What `--set` says of a key in a stage, as typed; empty where it says nothing."""
        found = (text for text in self.typed if text.partition("=")[0].strip() in {key, f"{stage}.{key}", f"run.{key}"})
        return next(found, "")

    def typed_under(self, section: str, stage: str) -> list[str]:
        """What `--set` says of a section for a stage and no other, as typed."""
        prefixes = tuple(f"{own}{section}." for own in (f"{stage}.", *([""] if self.command == stage else [])))
        return [text for text in self.typed if text.strip().startswith(prefixes)]

    def refuse_unused(self, room: str, names: Iterable[str], stage: str) -> None:
        """Ends where `--set` names a part of the room that is none of `names`, which are all that the stage uses.

        Raises:
            ConfigError: naming each such key, and the parts in use.
        """
        section, in_use = _KEY_OF_ROOM[room], list(names)
        known = {spelling for name in in_use for spelling in spellings(room, name)}
        shown = ", ".join(dict.fromkeys(_known_as(room, name) for name in in_use)) or "none"
        errors: list[MmcliError] = []
        for text in self.typed:
            path = text.partition("=")[0].strip().split(".")
            path = path[1:] if path[0] in {stage, "run"} else path
            if path[0] == section and path[1] not in known:
                what = f"the {registry.ROOMS[room]} {path[1]!r} is not in use here, so this would change nothing"
                remedy = f"In use: {shown}. Leave it out; a file (--config) may name what other commands use."
                errors.append(ConfigError(f"--set {text}: {what}", remedy))
        if errors:
            raise combine(errors)

    def said(self, section: str) -> dict[str, Any]:
        """What the user said in one of the SECTIONS."""
        return dict(self.values.get(section, {}))

    def section(self, name: str, config: type[C], **defaults: Any) -> C:
        """The options of one of the SECTIONS: class defaults, then `defaults`, then what the user said."""
        return validate(config, {**defaults, **self.said(name)}, name)


_KEY_OF_ROOM = {room: key for key, room in ROOM_OF_KEY.items()}


def spellings(room: str, name: str) -> list[str]:
    """All that a part may be called in a key, the weightiest last."""
    known_as = _known_as(room, name)
    return list(dict.fromkeys([*registry.resolve(room, name).aliases, known_as.replace("-", "_"), known_as, name]))


def _known_as(room: str, name: str) -> str:
    """What a part is called in a key: a file by its stem."""
    return registry.stem(name) or registry.resolve(room, name).name


def read_toml(file: Path) -> dict[str, Any]:
    """The file as a nested dict; every failure names the file."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"--config {file}: there is no such file", f"Looked in {file.absolute().parent}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"--config {file} is not valid TOML: {error}") from None


def _useless(assignments: Sequence[str], command: str) -> Iterator[MmcliError]:
    """What `--set` says that the command, or of all of them the stage that it names, would not look at."""
    for text in assignments:
        key = text.partition("=")[0].strip()
        first, _, rest = key.partition(".")
        stage, section = (first, rest.partition(".")[0]) if first in COMMANDS else (command, first)
        if not command and stage in {"", "run"}:
            continue
        if stage != (command or stage) or section not in SECTIONS_OF_STAGE.get(stage, ()):
            others = [name for name, sections in SECTIONS_OF_STAGE.items() if section in sections and stage in {name, command}]
            remedy = f"It is for: mmcli {', mmcli '.join(others)}." if others else ""
            yield ConfigError(f"--set {text}: mmcli {command or stage} has no use for {section!r} options here.", remedy)
            continue
        takers = TAKERS_OF_TRAINING.get(key.rpartition(".")[2], (stage,)) if section == "training" else (stage,)
        if stage not in takers:
            remedy = f"It is for: mmcli {', mmcli '.join(takers)}."
            yield ConfigError(f"--set {text}: mmcli {stage} has no use for it.", remedy)


def _check(values: dict[str, Any], origin: str) -> Iterator[MmcliError]:
    for key, value in values.items():
        if key in COMMANDS:
            nested = {k: v for k, v in value.items() if isinstance(v, dict)} if isinstance(value, dict) else {}
            yield from (_prefixed(error, key) for error in _check(nested, origin))
        elif key in SECTIONS:
            yield from _check_section(section_config(key), value, key, origin)
        elif key in ROOM_OF_KEY:
            yield from _check_room(key, value, origin)
        else:
            yield ConfigError(f"{origin}: {_unknown_section(key, value)}")


def _unknown_section(key: str, value: Any) -> str:
    """What is wrong with a key that is no section: perhaps the section before it is missing."""
    path = [key]
    while isinstance(value, dict) and len(value) == 1:
        ((inner, value),) = value.items()
        path.append(inner)
    typed = ".".join(path)
    known = every_key()
    whole = [name for name in known if name.endswith(f".{typed}")]
    by_end = {name.rpartition(".")[2]: name for name in known if name.partition(".")[0] in SECTIONS}
    near = whole or [by_end[end] for end in get_close_matches(typed, by_end, n=1, cutoff=0.75)]
    if not near:
        return unknown("section", key, [*SECTIONS, *ROOM_OF_KEY, *COMMANDS])
    more = f" (and {len(near) - 3} more)" if len(near) > 3 else ""
    return f"{typed!r} needs its section. Did you mean {' or '.join(near[:3])}{more}?"


def every_key() -> dict[str, str]:
    """Every key that may be set, e.g. `training.epochs`, with what it is; sections first, then parts."""
    configs = {name: section_config(name) for name in SECTIONS}
    for section, room in ROOM_OF_KEY.items():
        configs |= {f"{section}.{part}": registry.config_class(room, part) for part in registry.parts(room)}
    return {
        f"{name}.{option}": (field.description or "").split("\n")[0]
        for name, config in configs.items()
        for option, field in config.model_fields.items()
    }


def section_config(name: str) -> type[Config]:
    """Where the options of one of the SECTIONS stand."""
    module, _, config = SECTIONS[name].partition(":")
    found: type[Config] = getattr(importlib.import_module(module), config)
    return found


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
        yield from (ConfigError(f"{origin}: {text}") for text in explain(error, config, where))


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
