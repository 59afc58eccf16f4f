"""mmcli predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcli.cli import options as o

NO_ARGS_IS_HELP = True

Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write: .csv, .tsv, .parquet or .jsonl.")]
ModelFolder = Annotated[
    Path | None,
    typer.Option("--model", help="A fusion's folder or artifacts/optimized. Default: the best so far.", show_default=False),
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Write how much of each column entered, where the fusion has weights.")
]
Sets = Annotated[
    bool,
    typer.Option("--sets", help="Write prediction sets, or the ends of an interval: they hold the truth as often as asked."),
]
Embeddings = Annotated[bool, typer.Option("--embeddings", help="Write the fused features of each row, as a list.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="Leave cells of a CSV that a spreadsheet would run as formulas without an apostrophe.")
]


def command(
    table: o.TableArgument,
    output: Output = Path("predictions.csv"),
    model: ModelFolder = None,
    explain: Explain = False,
    sets: Sets = False,
    embeddings: Embeddings = False,
    raw: Raw = False,
    media_root: o.MediaRoot = None,
    encoding: o.Encoding = None,
    delimiter: o.Delimiter = None,
    artifacts: o.Artifacts = Path("artifacts"),
    config: o.ConfigFile = None,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    threads: o.Threads = 0,
    json_: o.Json = False,
    quiet: o.Quiet = False,
    trust: o.Trust = None,
    dry_run: o.DryRun = False,
) -> None:
    """Predict a new table: the same rows, with prediction and probability columns."""
    context = o.begin(
        artifacts=artifacts,
        config=config,
        device=device,
        precision=precision,
        threads=threads,
        quiet=quiet,
        trust=trust,
        dry_run=dry_run,
    )
    from mmcli.stages import predict

    options = predict.Options(
        output=output,
        model=model,
        explain=explain,
        sets=sets,
        embeddings=embeddings,
        raw=raw,
        media_root=media_root,
        encoding=encoding,
        delimiter=delimiter,
    )
    o.end(predict.run(table, options, context), context, json_)
