"""mmcli export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcli.cli import options as o

FORMATS = ("onnx", "onnx-int8", "torch-export", "safetensors")

Format = Annotated[str, typer.Option("--format", help="onnx, onnx-int8, torch-export or safetensors.", metavar="NAME")]
To = Annotated[Path, typer.Option("--to", help="The folder to write.", metavar="DIR")]
ModelFolder = Annotated[
    Path | None,
    typer.Option("--model", help="A fusion's folder or artifacts/optimized. Default: the best so far.", show_default=False),
]


def command(
    format_: Format = "onnx",
    to: To = Path("exported"),
    model: ModelFolder = None,
    artifacts: o.Artifacts = Path("artifacts"),
    config: o.ConfigFile = None,
    json_: o.Json = False,
    quiet: o.Quiet = False,
    trust: o.Trust = None,
    dry_run: o.DryRun = False,
    force: o.Force = False,
) -> None:
    """Write the model for use without mmcli: the network, what it wants as input, and a script that runs it."""
    context = o.begin(artifacts=artifacts, config=config, quiet=quiet, trust=trust, dry_run=dry_run, force=force)
    from mmcli.errors import ConfigError, unknown

    if format_ not in FORMATS:
        raise ConfigError(f"--format {format_}: {unknown('format', format_, FORMATS)}")
    from mmcli.stages import export

    o.end(export.run(export.Options(format=format_, to=to, model=model), context), context, json_)
