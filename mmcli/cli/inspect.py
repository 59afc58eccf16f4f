"""mmcli inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmcli.cli import options as o

NO_ARGS_IS_HELP = True

Sample = Annotated[
    int, typer.Option("--sample", help="Show so many rows as the model will see them, in a page.", min=0, metavar="ROWS")
]
Html = Annotated[bool, typer.Option("--html", help="Write that page; of eight rows, unless --sample says otherwise.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where that page goes.")]


def command(
    table: o.TableArgument,
    target: o.Target = None,
    task: o.Task = None,
    label_separator: o.LabelSeparator = None,
    input_: o.Input = None,
    ignore: o.Ignore = None,
    type_: o.Type = None,
    each: o.Each = False,
    split: o.Split = None,
    group: o.Group = None,
    id_: o.Id = None,
    media_root: o.MediaRoot = None,
    encoding: o.Encoding = None,
    delimiter: o.Delimiter = None,
    sample: Sample = 0,
    html: Html = False,
    output: Output = Path("inspect.html"),
    config: o.ConfigFile = None,
    set_: o.Set = None,
    json_: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Show what the columns of a table were taken for, and what is wrong with it."""
    columns = o.roles(
        target=target,
        task=task,
        each=each,
        inputs=input_,
        ignore=ignore,
        types=type_,
        split=split,
        group=group,
        id_column=id_,
        media_root=media_root,
    )
    context = o.begin(artifacts=Path("artifacts"), config=config, assignments=set_, stage="inspect", quiet=quiet)
    from mmcli.stages import inspect

    task_options = {"multilabel": {"separator": label_separator}} if label_separator else {}
    options = inspect.Options(
        roles=columns,
        encoding=encoding,
        delimiter=delimiter,
        task_options=task_options,
        sample=sample or (8 if html else 0),
        page=output,
    )
    o.end(inspect.run(table, options, context), context, json_)
