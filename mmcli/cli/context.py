"""What a stage is told beside its own options, made of the common ones; how its outcome is said."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mmcli.errors import ConfigError, unknown
from mmcli.options.common import Common
from mmcli.options.flags import options_of
from mmcli.reporting import strict

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome

STAGES_OF_RUN = ("preprocess", "train-encoder", "fuse", "optimize", "evaluate")
CARRIED = {"artifacts": "-a", "config": "--config"}
"""What the next command has to be told too, and how it is written."""
OR = " (or: "


def read_config(ctx: typer.Context, file: Path | None) -> Path | None:
    """Lets the file's table for this command stand where flags and environment are silent.

    Raises:
        ConfigError: the file cannot be read, or names what is no option of the command.
    """
    if file is None or ctx.resilient_parsing:
        return file
    from mmcli.config.settings import read_toml

    values = read_toml(file)
    command = str(ctx.info_name)
    several = {str(parameter.name) for parameter in ctx.command.params if getattr(parameter, "multiple", False)}
    flags = {
        spelling.lstrip("-").replace("-", "_"): str(parameter.name)
        for parameter in ctx.command.params
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }
    defaults: dict[str, Any] = {}
    for section in (*(STAGES_OF_RUN if command == "run" else ()), command):
        for key, value in values.get(section, {}).items():
            if isinstance(value, dict):
                continue
            if section != command and key.replace("-", "_") in {"time_budget", "only", "skip"}:
                raise ConfigError(
                    f"--config {file}: [{section}] {key} is for mmcli {section}; mmcli run goes by its own",
                    'Say it for both: [run] time-budget = "10m" is the whole run\'s; what run does is chosen by --preset.',
                )
            name = flags.get(key.replace("-", "_"))
            if name is None:
                known = sorted(flag.replace("_", "-") for flag in flags)
                raise ConfigError(f"--config {file}: [{section}] {unknown('option', key, known)}")
            defaults[name] = [value] if name in several and not isinstance(value, list) else value
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return file


def begin(told: Common, stage: str) -> Context:
    """The context of a stage. Wrong options are found here, before torch is imported.

    Raises:
        ConfigError: every wrong key and value of the file and of --set.
    """
    from mmcli.config.settings import Settings
    from mmcli.reporting.console import Console
    from mmcli.stages import Context

    return Context(
        root=told.artifacts,
        console=Console(told.quiet, told.verbose),
        settings=Settings.gather(told.config, told.set, stage),
        device=told.device,
        precision=told.precision,
        threads=told.threads,
        seed=told.seed,
        force=told.force,
        dry_run=told.dry_run,
        command=shlex.join(["mmcli", *(argument for argument in sys.argv[1:] if argument not in {"--force", "--dry-run"})]),
    )


def end(outcome: Outcome, context: Context, told: Common) -> None:
    """Prints the result as JSON on stdout where asked for, and says what to run next, with the options that it needs."""
    step = _carried(outcome.next_step, told)
    if told.json:
        data = outcome.data | ({"next": step} if "next" in outcome.data else {})
        typer.echo(strict.text(data, indent=1, default=str))
    if step:
        context.console.next_step(step)


def _carried(step: str, told: Common) -> str:
    """The next step with where artifacts lie and which file holds options, where the environment does not say so already."""
    first, either, other = step.partition(OR)
    if either:
        return f"{_carried(first, told)}{either}{_carried(other.removesuffix(')'), told)})"
    words = shlex.split(step)
    if words[:1] != ["mmcli"]:
        return step
    typed = {word.partition("=")[0] for word in words}
    for option in options_of(Common):
        value, flag = getattr(told, option.key), option.flag
        said = value == option.default or str(value) == os.environ.get(str(flag.envvar)) or typed & {flag.name, flag.short}
        if option.key in CARRIED and not said:
            step += f" {CARRIED[option.key]} {shlex.quote(str(value))}"
    return step
