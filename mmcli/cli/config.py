"""mmcli config."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcli.cli.binding import bound
from mmcli.errors import ConfigError, unknown
from mmcli.options.flags import Flag, options_of

if TYPE_CHECKING:
    from mmcli.config.settings import Settings
    from mmcli.stages import Context

WIDTH = 120
STAGES = ("preprocess", "train-encoder", "fuse", "optimize", "evaluate", "run")
"""The commands whose own options are shown."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is told."""

    sections: Annotated[
        tuple[str, ...],
        Flag(
            "",
            "What to show: training, encoder.cnn, fuse, ... Default: all.",
            metavar="[SECTION]...",
            show_default=False,
        ),
    ] = ()


@bound(Options, common=("config", "set"))
def command(options: Options, context: Context) -> None:
    """Print every option as it stands, as TOML ready to be changed: mmcli config > my.toml; mmcli run data.csv -c my.toml."""
    found = dict(_sections(context.settings))
    wanted = []
    for name in options.sections:
        own = [section for section in found if section == name or section.startswith(f"{name}.")]
        if not own:
            known = list(dict.fromkeys([*found, *(section.partition(".")[0] for section in found)]))
            raise ConfigError(unknown("section", name, known))
        wanted += own
    typer.echo("\n\n".join("\n".join(found[name]) for name in dict.fromkeys(wanted or found)))


def _sections(settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """Each section with its lines: those of all commands, those of parts, and the flags of each command."""
    from mmcli import registry
    from mmcli.config.settings import COMMANDS, ROOM_OF_KEY, SECTIONS, section_config

    for name in SECTIONS:
        config = section_config(name)
        yield name, [f"[{name}]", *_options(config, settings.said(name))]
    for key, room in ROOM_OF_KEY.items():
        for part, info in registry.parts(room).items():
            said = _said_of(room, part, settings.said(key))
            if registry.config_class(room, part).model_fields:
                yield (
                    f"{key}.{part}",
                    [f"[{key}.{part}]", f"# {info.summary}", *_options(registry.config_class(room, part), said)],
                )
    for command in COMMANDS:
        said = settings.said(command)
        if command in STAGES or any(not isinstance(value, dict) for value in said.values()):
            yield command, [f"[{command}]", *_flags(command, said)]
        yield from _tables(command, said)


def _said_of(room: str, part: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """What the user says of a part, however it is spelt."""
    from mmcli.config.settings import spellings

    return {name: value for spelling in spellings(room, part) for name, value in section.get(spelling, {}).items()}


def _tables(name: str, said: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """What is said for one command alone, `[fuse.training]`, as it is said."""
    for key, value in said.items():
        if isinstance(value, dict):
            own = [f"{option} = {_toml(given)}" for option, given in value.items() if not isinstance(given, dict)]
            if own:
                yield f"{name}.{key}", [f"[{name}.{key}]", *own]
            yield from _tables(f"{name}.{key}", value)


def _options(config: type[Any], said: Mapping[str, Any]) -> Iterator[str]:
    values = config(**said)
    for name, field in config.model_fields.items():
        about = " ".join((field.description or "").split()).partition(". ")[0]
        yield _line(name, getattr(values, name), about, name in said)


def _flags(stage: str, said: Mapping[str, Any]) -> Iterator[str]:
    """The options of a command that a file may say."""
    from mmcli.cli import app

    group: Any = typer.main.get_command(app)
    common = {option.key for option in options_of(_common())}
    for parameter in group.commands[stage].params:
        if parameter.param_type_name != "option" or parameter.name in common or parameter.hidden:
            continue
        name = max(parameter.opts, key=len).lstrip("-")
        default = None if parameter.default == () else parameter.default
        yield _line(name, said.get(name, default), parameter.help or "", name in said)


def _common() -> type:
    from mmcli.options.common import Common

    return Common


def _line(name: str, value: Any, about: str, said: bool) -> str:
    """A line of TOML; one that says nothing but the default, or has no value, is a comment."""
    shown = f"{name} = {_toml(value)}" if value is not None else f"{name} ="
    line = shown if said else f"# {shown}"
    return f"{line:<34}  # {about}" if about else line


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key), ensure_ascii=False)} = {_toml(own)}" for key, own in value.items()) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_toml(own) for own in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)
