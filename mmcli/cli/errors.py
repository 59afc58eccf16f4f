"""Every exception as a message and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import typer

from mmcli.errors import ExitCode, MmcliError


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turns every exception into a message and an exit code; a traceback only with MMCLI_DEBUG=1."""

    @functools.wraps(command)
    def inner(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except MmcliError as error:
            say(error.message, error.remedy)
            raise typer.Exit(error.code) from None
        except KeyboardInterrupt:
            say("interrupted", "What is complete is kept; the same command goes on from the last checkpoint.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.FAILED) from None
        except (typer.Exit, typer.Abort):
            raise
        except OSError as error:
            say(str(error), "Check the path, the permissions and the space on the disk.")
            raise typer.Exit(ExitCode.FAILED) from None
        except Exception as error:
            if os.environ.get("MMCLI_DEBUG"):
                raise
            say(
                f"this is a bug in mmcli: {type(error).__name__}: {error}",
                "Please report it with the output of the same command under MMCLI_DEBUG=1.",
            )
            raise typer.Exit(ExitCode.FAILED) from None

    return inner


def say(message: str, remedy: str) -> None:
    """On standard error, what is wrong and what to do."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False)
    console.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)
    if remedy:
        console.print(escape(remedy), soft_wrap=True)
