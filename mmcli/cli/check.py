"""mmcli check."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from mmcli.cli.binding import bound
from mmcli.errors import ExitCode
from mmcli.options.common import Json
from mmcli.options.flags import Flag

NO_ARGS_IS_HELP = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is told."""

    method: Annotated[str, Flag("", "FILE.py, FILE.py:CLASS, or the name of a method that is installed.", metavar="METHOD")]
    json: Json = False


@bound(Options, common=())
def command(options: Options) -> None:
    """Check a fusion method of your own against what every method must do."""
    from mmcli.checks import fusion
    from mmcli.reporting.console import Console

    results = fusion.check(options.method)
    failed = [result for result in results if not result.passed]
    if options.json:
        typer.echo(json.dumps([asdict(result) for result in results], ensure_ascii=False, indent=1))
    console = Console()
    for result in results:
        console.note(f"{'passed' if result.passed else 'FAILED'}  {result.about}{'' if result.passed else f': {result.found}'}")
    if failed:
        console.next_step(f"mend {failed[0].name.replace('_', ' ')} first, then: mmcli check {options.method}")
        raise typer.Exit(ExitCode.FAILED)
    console.next_step(f"mmcli fuse --method {options.method}")
