"""Every error as a message, with `--json` also as JSON, and an exit code."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand

from mmcli.errors import ChangedError, ExitCode, MmcliError

JSON = "--json"
UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What Typer raises of wrong flags; it has the class by no public name of its own."""


class Command(TyperCommand):
    """A command whose usage errors say what to type, and are JSON where that was asked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the words of the command line."""
        as_json = JSON in args
        try:
            return super().parse_args(ctx, args)
        except MmcliError as error:
            fail(error.message, error.remedy, error.code, as_json)
        except UsageError as error:
            _name_the_values(self, error)
            if as_json:
                said: Any = error
                _echo(said.format_message(), f"See {ctx.command_path} --help", ExitCode.USAGE)
            raise


def _name_the_values(command: TyperCommand, error: Any) -> None:
    """Where a flag wants several values: which."""
    for parameter in command.params:
        if parameter.nargs > 1 and getattr(error, "option_name", None) in parameter.opts:
            wanted = f"{error.option_name} {parameter.metavar}"
            error.message = f"{error.option_name} needs {parameter.nargs} values: name them all, as {wanted}."


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turns every exception into a message and an exit code; a traceback only with MMCLI_DEBUG=1."""

    @functools.wraps(command)
    def inner(**typed: Any) -> None:
        as_json = bool(typed.get("json"))
        try:
            try:
                command(**typed)
            except ChangedError:  # an artifact was replaced while it was read: nothing has been written yet
                command(**typed)
        except MmcliError as error:
            fail(error.message, error.remedy, error.code, as_json)
        except KeyboardInterrupt:
            remedy = "What is complete is kept; the same command goes on from the last checkpoint."
            fail("interrupted", remedy, ExitCode.INTERRUPTED, as_json)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.FAILED) from None
        except (typer.Exit, typer.Abort):
            raise
        except OSError as error:
            fail(str(error), "Check the path, the permissions and the space on the disk.", ExitCode.FAILED, as_json)
        except Exception as error:
            if os.environ.get("MMCLI_DEBUG"):
                raise
            remedy = "Please report it with the output of the same command under MMCLI_DEBUG=1."
            fail(f"this is a bug in mmcli: {type(error).__name__}: {error}", remedy, ExitCode.FAILED, as_json)

    return inner


def fail(message: str, remedy: str, code: ExitCode, as_json: bool) -> NoReturn:
    """Says on standard error what is wrong and what to do, as JSON on standard output where asked for, and ends."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if remedy:
        console.print(escape(remedy), soft_wrap=True)
    if as_json:
        _echo(message, remedy, code)
    raise typer.Exit(code) from None


def _echo(message: str, remedy: str, code: ExitCode) -> None:
    typer.echo(json.dumps({"error": message, "hint": remedy, "code": int(code)}, ensure_ascii=False, indent=1))
