"""What a person types: one file a command, found by its name. Knows no torch, and nothing of how a stage works.

Nothing here imports torch or pandas at module level: `--help` and usage errors answer at once.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from mmcli import __version__
from mmcli.errors import ExitCode, MmcliError

COMMANDS = (
    "run",
    "inspect",
    "preprocess",
    "train-encoder",
    "fuse",
    "optimize",
    "evaluate",
    "predict",
    "export",
    "status",
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


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turns every exception into a message and an exit code; a traceback only with MMCLI_DEBUG=1."""

    @functools.wraps(command)
    def inner(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except MmcliError as error:
            _say_error(error.message, error.remedy)
            raise typer.Exit(error.code) from None
        except KeyboardInterrupt:
            _say_error("interrupted", "What is complete is kept; the same command goes on from the last checkpoint.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.FAILED) from None
        except (typer.Exit, typer.Abort):
            raise
        except OSError as error:
            _say_error(str(error), "Check the path, the permissions and the space on the disk.")
            raise typer.Exit(ExitCode.FAILED) from None
        except Exception as error:
            if os.environ.get("MMCLI_DEBUG"):
                raise
            _say_error(
                f"this is a bug in mmcli: {type(error).__name__}: {error}",
                "Please report it with the output of the same command under MMCLI_DEBUG=1.",
            )
            raise typer.Exit(ExitCode.FAILED) from None

    return inner


def _say_error(message: str, remedy: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if remedy:
        console.print(escape(remedy), soft_wrap=True)


for _name in COMMANDS:
    _module = importlib.import_module(f"mmcli.cli.{_name.replace('-', '_')}")
    app.command(_name, no_args_is_help=getattr(_module, "NO_ARGS_IS_HELP", False))(guarded(_module.command))
