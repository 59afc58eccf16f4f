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

from mmcli.cli.troubles import drop, log_of, trouble_of
from mmcli.errors import ChangedError, ExitCode, MmcliError

JSON = "--json"
INTERRUPTED = "interrupted", "What is complete is kept; the same command goes on from the last checkpoint."
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
                typer.echo(_as_json(said.format_message(), f"See {ctx.command_path} --help", ExitCode.USAGE))
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
            sys.stdout.flush()  # here, where it can still be told that nobody takes it
        except MmcliError as error:
            fail(error.message, error.remedy, error.code, as_json)
        except KeyboardInterrupt:
            fail(*INTERRUPTED, ExitCode.INTERRUPTED, as_json)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            failed(error, as_json)

    return inner


def failed(error: Exception, as_json: bool = False) -> NoReturn:
    """Says what is wrong with the machine, or else that it is a bug, and where its log lies; ends with code 1."""
    found = trouble_of(error)
    if found is not None:
        fail(*found, ExitCode.FAILED, as_json)
    if isinstance(error, OSError):
        fail(str(error), "Check the path, the permissions and the space on the disk.", ExitCode.FAILED, as_json)
    if os.environ.get("MMCLI_DEBUG"):
        raise error
    log = log_of(error)
    where = f"Its log lies at {log}: please report it with that" if log else "Please report it with what MMCLI_DEBUG=1 shows"
    remedy = f"{where}, as docs/security.md says (the same command under MMCLI_DEBUG=1 shows the traceback)."
    fail(f"this is a bug in mmcli: {type(error).__name__}: {error}", remedy, ExitCode.FAILED, as_json)


def fail(message: str, remedy: str, code: ExitCode, as_json: bool) -> NoReturn:
    """Says on standard error what is wrong and what to do, as JSON on standard output where asked for, and ends. Where standard
    error takes nothing, it is said on standard output."""
    from rich.console import Console
    from rich.markup import escape

    try:
        console = Console(stderr=True, highlight=False)
        console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
        if remedy:
            console.print(escape(remedy), soft_wrap=True)
    except OSError:
        drop(sys.stderr)
        if not as_json:
            _said_on_output(f"error: {message}\n{remedy}")
    if as_json:
        _said_on_output(_as_json(message, remedy, code))
    raise typer.Exit(code) from None


def _said_on_output(text: str) -> None:
    try:
        typer.echo(text)
    except OSError:  # nor is there anybody there
        drop(sys.stdout)


def _as_json(message: str, remedy: str, code: ExitCode) -> str:
    return json.dumps({"error": message, "hint": remedy, "code": int(code)}, ensure_ascii=False, indent=1)
