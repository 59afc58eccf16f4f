"""What a person types: one file a command, found by its name. Knows no torch, and nothing of how a stage works.

Nothing here imports torch or pandas at module level: `--help` and usage errors answer at once.
"""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from mmcli import __version__
from mmcli.cli.errors import Command

COMMANDS = (
    "run",
    "inspect",
    "preprocess",
    "train-encoder",
    "fuse",
    "optimize",
    "evaluate",
    "predict",
    "enrol",
    "search",
    "export",
    "status",
    "config",
    "list",
    "check",
)
"""In the order of the pipeline, as help shows them."""

app = typer.Typer(
    name="mmcli",
    help="From a table of pictures, text and more to a trained, proven multimodal model.\n\n"
    "In one go: mmcli run data.csv. Stage by stage: preprocess, train-encoder, fuse, optimize, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"mmcli {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


for _name in COMMANDS:
    _module = importlib.import_module(f"mmcli.cli.{_name.replace('-', '_')}")
    app.command(_name, cls=Command, no_args_is_help=getattr(_module, "NO_ARGS_IS_HELP", False))(_module.command)
