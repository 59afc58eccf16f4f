"""mmcli check."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from mmcli.cli import options as o
from mmcli.errors import ExitCode

NO_ARGS_IS_HELP = True

Part = Annotated[str, typer.Argument(help="FILE.py, FILE.py:CLASS, or the name of a part that is installed.", metavar="PART")]
Room = Annotated[
    str | None,
    typer.Option(
        "--room",
        help="Which is meant, where several have that name: modality, encoder, fusion, task or optimization.",
        metavar="KIND",
    ),
]
NEXT = {
    "modalities": "mmcli preprocess TABLE --type COL={}",
    "encoders": "mmcli train-encoder --arch {}",
    "fusions": "mmcli fuse --method {}",
    "tasks": "mmcli preprocess TABLE --task {}",
    "optimizations": "mmcli optimize --with {}",
}
"""Room -> how its parts are named."""


def command(part: Part, room: Room = None, json_: o.Json = False) -> None:
    """Check a part of your own (encoder, fusion, modality, ...) against what every part of its kind must do."""
    from mmcli import checks
    from mmcli.reporting.console import Console

    found, results = checks.check(part, room or "")
    failed = [result for result in results if not result.passed]
    if json_:
        typer.echo(json.dumps([asdict(result) for result in results], ensure_ascii=False, indent=1))
    console = Console()
    for result in results:
        console.note(f"{'passed' if result.passed else 'FAILED'}  {result.about}{'' if result.passed else f': {result.found}'}")
    if failed:
        again = f"mmcli check {part}{f' --room {room}' if room else ''}"
        console.next_step(f"mend {failed[0].name.replace('_', ' ')} first, then: {again}")
        raise typer.Exit(ExitCode.FAILED)
    console.next_step(NEXT.get(found, "mmcli list").format(part))
