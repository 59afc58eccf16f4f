"""The options that commands share, and the context that they make of them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcli.errors import ConfigError, unknown

if TYPE_CHECKING:
    from mmcli.data.roles import Roles
    from mmcli.stages import Context, Outcome

COMMON = "Common options"
COLUMNS = "Columns"
TABLE = "Reading the table"

STAGES_OF_RUN = ("preprocess", "train-encoder", "fuse", "optimize", "evaluate")


def _read_config(ctx: typer.Context, file: Path | None) -> Path | None:
    """Lets the file's table for this command stand where flags and environment are silent."""
    if file is None or ctx.resilient_parsing:
        return file
    from mmcli.cli import _say_error
    from mmcli.config.settings import read_toml

    try:
        values = read_toml(file)
        command = str(ctx.info_name)
        several = {str(parameter.name) for parameter in ctx.command.params if getattr(parameter, "multiple", False)}
        flags = {
            spelling.lstrip("-").replace("-", "_"): str(parameter.name)
            for parameter in ctx.command.params
            for spelling in (*parameter.opts, *parameter.secondary_opts)
        }
        defaults: dict[str, Any] = {}
        for section in (*(STAGES_OF_RUN if command == "run" else ()), command):
            for key, value in values.get(section, {}).items():
                if isinstance(value, dict):
                    continue
                name = flags.get(key.replace("-", "_"))
                if name is None:
                    known = sorted(flag.replace("_", "-") for flag in flags)
                    raise ConfigError(f"--config {file}: [{section}] {unknown('option', key, known)}")
                defaults[name] = [value] if name in several and not isinstance(value, list) else value
    except ConfigError as error:
        _say_error(error.message, error.remedy)
        raise typer.Exit(error.code) from None
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return file


TableArgument = Annotated[
    Path, typer.Argument(help="The table: .csv, .tsv, .parquet or .jsonl.", metavar="TABLE", show_default=False)
]
Artifacts = Annotated[
    Path,
    typer.Option("--artifacts", "-a", help="Where artifacts lie.", envvar="MMCLI_ARTIFACTS", rich_help_panel=COMMON),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Options from a TOML file.",
        envvar="MMCLI_CONFIG",
        is_eager=True,
        callback=_read_config,
        rich_help_panel=COMMON,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="One option of a part, e.g. encoder.cnn.width=64. Repeat.",
        metavar="KEY=VALUE",
        rich_help_panel=COMMON,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", help="auto, cpu, cuda, cuda:1, mps.", metavar="NAME", envvar="MMCLI_DEVICE", rich_help_panel=COMMON
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision", help="auto, float32 or bfloat16.", metavar="NAME", envvar="MMCLI_PRECISION", rich_help_panel=COMMON
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        help="Cores to compute on. Default: all, or as many as are faster.",
        min=0,
        max=1024,
        envvar="MMCLI_THREADS",
        show_default=False,
        rich_help_panel=COMMON,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", help="Same seed, same bits on one device.", min=0, envvar="MMCLI_SEED", rich_help_panel=COMMON)
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.", rich_help_panel=COMMON)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say warnings and errors only.", rich_help_panel=COMMON)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Find every error, decide everything, write nothing.", rich_help_panel=COMMON)
]
Trust = Annotated[
    list[Path] | None,
    typer.Option(
        "--trust",
        help="A file with a part of your own that artifacts name: without it, nothing in that file is run. Repeat.",
        metavar="FILE.py",
        envvar="MMCLI_TRUST",
        rich_help_panel=COMMON,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Work even if nothing has changed.", rich_help_panel=COMMON)]

Target = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        help="The column to predict; several numbers: repeat. Default: label, target, class or y, else the last.",
        metavar="COL",
        rich_help_panel=COLUMNS,
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="classification, regression or multilabel, or FILE.py. Default: by the target.",
        metavar="NAME",
        autocompletion=lambda incomplete: complete_names("tasks")(incomplete),
        rich_help_panel=COLUMNS,
    ),
]
LabelSeparator = Annotated[
    str | None,
    typer.Option(
        "--label-separator", help="The mark between the labels of a cell: multilabel.", metavar="MARK", rich_help_panel=COLUMNS
    ),
]
Each = Annotated[
    bool, typer.Option("--each", help="One encoder for each number and category, not one for all.", rich_help_panel=COLUMNS)
]
Input = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", help="A column to learn from. Repeat. Default: all.", metavar="COL", rich_help_panel=COLUMNS),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option("--ignore", help="A column to leave out. Repeat.", metavar="COL", rich_help_panel=COLUMNS),
]
Type = Annotated[
    list[str] | None,
    typer.Option(
        "--type",
        help="What a column is, where it was taken for something else: a modality, or FILE.py with one. Repeat.",
        metavar="COL=MODALITY",
        rich_help_panel=COLUMNS,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="The column that holds train, val or test. Default: one called split, else drawn by --val and --test.",
        metavar="COL",
        rich_help_panel=COLUMNS,
    ),
]
Group = Annotated[
    str | None,
    typer.Option("--group", help="Rows that share its value never straddle splits.", metavar="COL", rich_help_panel=COLUMNS),
]
Id = Annotated[str | None, typer.Option("--id", help="The column that names a row.", metavar="COL", rich_help_panel=COLUMNS)]
Val = Annotated[float, typer.Option("--val", help="Share of rows drawn for validation.", rich_help_panel=COLUMNS)]
Test = Annotated[float, typer.Option("--test", help="Share of rows drawn for test.", rich_help_panel=COLUMNS)]
MediaRoot = Annotated[
    str | None,
    typer.Option(
        "--media-root",
        help="Where media paths start: a folder, or an address such as s3://bucket. Default: the table's folder.",
        metavar="DIR",
        rich_help_panel=TABLE,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", help="Text encoding. Default: detected.", metavar="NAME", rich_help_panel=TABLE),
]
Delimiter = Annotated[
    str | None, typer.Option("--delimiter", help="Of a CSV. Default: detected.", metavar="CHAR", rich_help_panel=TABLE)
]


def complete_names(room: str) -> Callable[[str], list[tuple[str, str]]]:
    """Shell completion of the names of a room's parts, with their summaries."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        from mmcli import registry

        return [(name, info.summary) for name, info in registry.parts(room).items() if name.startswith(incomplete)]

    return complete


def roles(
    *,
    target: list[str] | None,
    task: str | None = None,
    each: bool = False,
    inputs: list[str] | None,
    ignore: list[str] | None,
    types: list[str] | None,
    split: str | None,
    group: str | None,
    id_column: str | None,
    media_root: str | None,
) -> Roles:
    """What the column options say. Files of the user's own that they name may run from here on.

    Raises:
        ConfigError: a --type that is not COL=MODALITY, a file that is not there.
    """
    from mmcli import registry

    pairs = {}
    for text in types or []:
        column, equals, modality = text.rpartition("=")
        if not equals or not column:
            raise ConfigError(f"--type {text!r} is not of the form COL=MODALITY.", "E.g. --type notes=text")
        pairs[column] = modality
    for name in (*pairs.values(), *([task] if task else [])):
        registry.trust(name)
    from mmcli.data.roles import Roles

    return Roles(
        target=tuple(target or ()),
        task=task,
        each=each,
        inputs=tuple(inputs or ()),
        ignore=tuple(ignore or ()),
        types=pairs,
        split=split,
        group=group,
        id=id_column,
        media_root=media_root,
    )


def begin(
    *,
    artifacts: Path,
    config: Path | None = None,
    assignments: list[str] | None = None,
    stage: str = "",
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    seed: int = 0,
    quiet: bool = False,
    force: bool = False,
    dry_run: bool = False,
    trust: list[Path] | None = None,
) -> Context:
    """The context of a stage. Wrong options are found here, before torch is imported.

    Raises:
        ConfigError: every wrong key and value of the file and of --set.
    """
    from mmcli import registry
    from mmcli.config.settings import Settings
    from mmcli.reporting.console import Console
    from mmcli.stages import Context

    for file in trust or []:
        if file.suffix != ".py":
            raise ConfigError(f"--trust {file}: that is no Python file", "Give the file that the part stands in: mine.py")
        registry.trust(str(file))
    if precision not in {"auto", "float32", "bfloat16"}:
        raise ConfigError(f"--precision {unknown('precision', precision, ['auto', 'float32', 'bfloat16'])}")
    return Context(
        root=artifacts,
        console=Console(quiet),
        settings=Settings.gather(config, assignments or [], stage),
        device=device,
        precision=precision,
        threads=threads,
        seed=seed,
        force=force,
        dry_run=dry_run,
        command=shlex.join(["mmcli", *(argument for argument in sys.argv[1:] if argument not in {"--force", "--dry-run"})]),
    )


def end(outcome: Outcome, context: Context, as_json: bool) -> None:
    """Prints the result as JSON on stdout where asked for, and says what to run next."""
    if as_json:
        typer.echo(json.dumps(outcome.data, ensure_ascii=False, indent=1, default=str))
    if outcome.next_step:
        context.console.next_step(outcome.next_step)
