"""Makes a command's signature of option classes, and option classes of what was typed. Owns nothing of what they mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from mmcli.cli import completion, context
from mmcli.cli.errors import guarded
from mmcli.options.common import Common
from mmcli.options.flags import Option, gather, options_of

if TYPE_CHECKING:
    from mmcli.stages import Outcome

Command = Callable[..., "Outcome | None"]


def bound(
    *classes: type,
    common: Sequence[str] | None = None,
    without: Mapping[type, Sequence[str]] | None = None,
    stage: str = "",
) -> Callable[[Command], Callable[..., None]]:
    """What Typer takes for a command, of a function that takes an instance of each class and the stage's context.

    Args:
        common: the common options it takes; by default all; without any it is given no context.
        without: class -> options of it that the command does not take.
        stage: the command whose sections `--set` may name; by default those of all.
    """
    left_out = {cls: set(names) for cls, names in (without or {}).items()}
    if common is not None:
        left_out[Common] = {option.key for option in options_of(Common)} - set(common)
    taken = {
        cls: [option for option in options_of(cls) if option.key not in left_out.get(cls, ())] for cls in (*classes, Common)
    }

    def decorate(command: Command) -> Callable[..., None]:
        def inner(**typed: Any) -> None:
            def given(cls: type) -> Any:
                return gather(cls, {option.key: typed[option.key] for option in taken[cls]})

            if not taken[Common]:
                command(*map(given, classes))
                return
            told: Common = given(Common)
            options = [given(cls) for cls in classes]  # first: --set may name files of the user's own that these name
            for own in options:
                if hasattr(own, "beside"):
                    own.beside(told)
            begun = context.begin(told, stage)
            outcome = command(*options, begun)
            if outcome is not None:
                context.end(outcome, begun, told)

        each = {option.key: option for options in taken.values() for option in options}  # stages may share one
        parameters = [_parameter(option) for option in each.values()]
        inner.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        inner.__doc__ = command.__doc__
        inner.__annotations__ = {}
        return guarded(inner)

    return decorate


def _parameter(option: Option) -> inspect.Parameter:
    return inspect.Parameter(
        option.key,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if option.default is MISSING else _default(option),
        annotation=Annotated[_typed(option), _info(option)],
    )


def _typed(option: Option) -> Any:
    """The type that Typer reads: of what is parsed afterwards, the text."""
    if option.many:
        return list[str if option.flag.many else get_args(option.type)[0]] | None  # type: ignore[misc]
    if option.flag.parse is None or option.type in {int, Path}:
        return option.type
    return str if isinstance(_default(option), str) else str | None


def _default(option: Option) -> Any:
    if option.many:
        return None
    if option.flag.shown is not None:
        return option.flag.shown
    readable = option.flag.parse is None or isinstance(option.default, str | int | Path)
    return option.default if readable else None


def _info(option: Option) -> Any:
    flag = option.flag
    told: dict[str, Any] = {"help": flag.help, "metavar": flag.metavar, "show_default": flag.show_default}
    if not flag.name:
        return typer.Argument(**told)
    names = [flag.name, flag.short] if flag.short else [flag.name]
    return typer.Option(
        *names,
        **told,
        rich_help_panel=flag.panel,
        envvar=flag.envvar,
        min=flag.min,
        max=flag.max,
        hidden=flag.hidden,
        is_eager=flag.eager,
        callback=context.read_config if flag.eager else None,
        autocompletion=completion.of(flag.complete) if flag.complete else None,
    )
