"""mmcli check."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from mmcli.cli import options as o
from mmcli.errors import ExitCode

NO_ARGS_IS_HELP = True

Method = Annotated[
    str, typer.Argument(help="FILE.py, FILE.py:CLASS, or the name of a method that is installed.", metavar="METHOD")
]


def command(method: Method, json_: o.Json = False) -> None:
    """Check a fusion method of your own against what every method must do."""
    from mmcli.checks import fusion
    from mmcli.reporting.console import Console

    results = fusion.check(method)
    failed = [result for result in results if not result.passed]
    if json_:
        typer.echo(json.dumps([asdict(result) for result in results], ensure_ascii=False, indent=1))
    console = Console()
    for result in results:
        console.note(f"{'passed' if result.passed else 'FAILED'}  {result.about}{'' if result.passed else f': {result.found}'}")
    if failed:
        console.next_step(f"mend {failed[0].name.replace('_', ' ')} first, then: mmcli check {method}")
        raise typer.Exit(ExitCode.FAILED)
    console.next_step(f"mmcli fuse --method {method}")
