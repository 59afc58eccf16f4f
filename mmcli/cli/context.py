"""What a stage is told beside its own options, made of the common ones; how its outcome is said."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mmcli.errors import ConfigError, unknown
from mmcli.options.common import Common

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome

STAGES_OF_RUN = ("preprocess", "train-encoder", "fuse", "optimize", "evaluate")


def read_config(ctx: typer.Context, file: Path | None) -> Path | None:
    """Lets the file's table for this command stand where flags and environment are silent."""
    if file is None or ctx.resilient_parsing:
        return file
    from mmcli.cli.errors import say
    from mmcli.config.settings import read_toml

    try:
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
                name = flags.get(key.replace("-", "_"))
                if name is None:
                    known = sorted(flag.replace("_", "-") for flag in flags)
                    raise ConfigError(f"--config {file}: [{section}] {unknown('option', key, known)}")
                defaults[name] = [value] if name in several and not isinstance(value, list) else value
    except ConfigError as error:
        say(error.message, error.remedy)
        raise typer.Exit(error.code) from None
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
        console=Console(told.quiet),
        settings=Settings.gather(told.config, told.set, stage),
        device=told.device,
        precision=told.precision,
        threads=told.threads,
        seed=told.seed,
        force=told.force,
        dry_run=told.dry_run,
        command=shlex.join(["mmcli", *(argument for argument in sys.argv[1:] if argument not in {"--force", "--dry-run"})]),
    )


def end(outcome: Outcome, context: Context, as_json: bool) -> None:
    """Prints the result as JSON on stdout where asked for, and says what to run next."""
    if as_json:
        typer.echo(json.dumps(outcome.data, ensure_ascii=False, indent=1, default=str))
    if outcome.next_step:
        context.console.next_step(outcome.next_step)
