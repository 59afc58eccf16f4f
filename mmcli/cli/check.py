"""mmcli check."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from mmcli.cli.binding import bound
from mmcli.config.settings import ROOM_OF_KEY
from mmcli.errors import ExitCode
from mmcli.options.common import Json
from mmcli.options.flags import Flag
from mmcli.reporting import strict

NO_ARGS_IS_HELP = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is told."""

    part: Annotated[str, Flag("", "FILE.py, FILE.py:CLASS, or the name of a part that is installed.", metavar="PART")]
    room: Annotated[
        str | None,
        Flag(
            "--room",
            "Which is meant, where several have that name: modality, encoder, fusion, head, task or optimization.",
            metavar="KIND",
            complete=tuple(ROOM_OF_KEY),
        ),
    ] = None
    json: Json = False


NEXT = {
    "modalities": "mmcli preprocess TABLE --type COL={}",
    "encoders": "mmcli train-encoder --arch {}",
    "fusions": "mmcli fuse --method {}",
    "heads": "mmcli fuse --head {}",
    "tasks": "mmcli preprocess TABLE --task {}",
    "optimizations": "mmcli optimize --with {}",
}
"""Room -> how its parts are named."""


@bound(Options, common=())
def command(options: Options) -> None:
    """Check a part of your own (encoder, fusion, modality, ...) against what every part of its kind must do."""
    from mmcli import checks
    from mmcli.reporting.console import Console

    found, results = checks.check(options.part, options.room or "")
    failed = [result for result in results if not result.passed]
    if options.json:
        typer.echo(strict.text([asdict(result) for result in results], indent=1))
    console = Console()
    for result in results:
        console.note(f"{'passed' if result.passed else 'FAILED'}  {result.about}{'' if result.passed else f': {result.found}'}")
    if failed:
        again = f"mmcli check {options.part}{f' --room {options.room}' if options.room else ''}"
        console.next_step(f"mend {failed[0].name.replace('_', ' ')} first, then: {again}")
        raise typer.Exit(ExitCode.FAILED)
    console.next_step(NEXT[found].format(options.part))
