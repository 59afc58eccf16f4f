"""mmcli preprocess."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcli.cli import options as o

if TYPE_CHECKING:
    from mmcli.data.options import Options

NO_ARGS_IS_HELP = True
IMAGES, TEXT, SOUND, QUALITY = "Images", "Text", "Sound and clips", "Unreadable cells and speed"

ImageSize = Annotated[
    int | None, typer.Option("--image-size", help="Height and width, in pixels. Default: 64.", rich_help_panel=IMAGES)
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="float16 (default), or uint8: half the space, the same values when loaded.",
        metavar="DTYPE",
        rich_help_panel=IMAGES,
    ),
]
Exact = Annotated[bool, typer.Option("--exact", help="Decode JPEGs in full before resizing: slower.", rich_help_panel=IMAGES)]
MaxPixels = Annotated[
    int | None,
    typer.Option("--max-pixels", help="Pictures with more pixels are rejected. Default: 100000000.", rich_help_panel=IMAGES),
]
SampleRate = Annotated[
    int | None, typer.Option("--sample-rate", help="Sound is resampled to it, in Hz. Default: 16000.", rich_help_panel=SOUND)
]
Mels = Annotated[int | None, typer.Option("--mels", help="Bands of the spectrogram. Default: 80.", rich_help_panel=SOUND)]
MaxSeconds = Annotated[
    float | None, typer.Option("--max-seconds", help="Seconds kept of a recording. Default: 10.", rich_help_panel=SOUND)
]
Frames = Annotated[
    int | None, typer.Option("--frames", help="Frames taken of a clip, spread evenly. Default: 8.", rich_help_panel=SOUND)
]
VocabSize = Annotated[
    int | None, typer.Option("--vocab-size", help="Most tokens to learn. Default: 8000.", rich_help_panel=TEXT)
]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", help="Tokens kept of a cell. Default: 256.", rich_help_panel=TEXT)
]
TokenizerFile = Annotated[
    Path | None,
    typer.Option("--tokenizer", help="An existing tokenizer.json, instead of learning one.", rich_help_panel=TEXT),
]
For = Annotated[
    list[str] | None,
    typer.Option(
        "--for",
        help="Take over the tokenizer, size or normalisation of a pretrained encoder, for a column or a kind of column: "
        "image=timm:resnet18, notes=hf:DIR. Repeat.",
        metavar="NAME=ENCODER",
        rich_help_panel=QUALITY,
    ),
]
MaxBad = Annotated[
    str,
    typer.Option(
        "--max-bad", help="Share of a column's cells that may be unreadable.", metavar="SHARE", rich_help_panel=QUALITY
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Any unreadable cell is an error.", rich_help_panel=QUALITY)]
Workers = Annotated[
    int,
    typer.Option("--workers", help="Threads; 0 for one a core. The result is the same.", min=0, rich_help_panel=QUALITY),
]


def stage_options(
    *,
    columns: Any,
    encoding: str | None,
    delimiter: str | None,
    val: float,
    test: float,
    image_size: int | None,
    store: str | None,
    exact: bool,
    vocab_size: int | None,
    max_pixels: int | None,
    max_tokens: int | None,
    tokenizer: Path | None,
    sample_rate: int | None,
    mels: int | None,
    max_seconds: float | None,
    frames: int | None,
    label_separator: str | None,
    max_bad: str,
    strict: bool,
    workers: int,
    for_: list[str] | None = None,
) -> Options:
    """The stage's options from the command's flags, the modality's own checked before any work."""
    from mmcli import registry
    from mmcli.config import validate
    from mmcli.errors import ConfigError

    said: dict[str, dict[str, Any]] = {
        "image": {"size": image_size, "store": store, "exact": exact or None, "max_pixels": max_pixels},
        "text": {"vocab_size": vocab_size, "max_tokens": max_tokens, "tokenizer": str(tokenizer) if tokenizer else None},
        "audio": {"sample_rate": sample_rate, "mels": mels, "max_seconds": max_seconds},
        "video": {"frames": frames},
    }
    given = {name: {k: v for k, v in flags.items() if v is not None} for name, flags in said.items()}
    for modality, flags in given.items():
        validate(registry.config_class("modalities", modality), flags, f"modality.{modality}")
    pretrained = {}
    for text in for_ or []:
        name, equals, encoder = text.partition("=")
        if not equals or not name or not encoder:
            raise ConfigError(f"--for {text!r} is not of the form NAME=ENCODER.", "E.g. --for image=timm:resnet18")
        registry.trust(encoder)
        registry.resolve("encoders", encoder)
        pretrained[name] = encoder
    try:
        share = float(max_bad.removesuffix("%")) / (100 if max_bad.endswith("%") else 1)
    except ValueError:
        raise ConfigError(f"--max-bad {max_bad!r} is not a share", "E.g. --max-bad 5% or --max-bad 0.05") from None
    from mmcli.data.options import Options

    return Options(
        roles=columns,
        encoding=encoding,
        delimiter=delimiter,
        val=val,
        test=test,
        max_bad=share,
        strict=strict,
        workers=workers,
        encoders=pretrained,
        modality_options={name: flags for name, flags in given.items() if flags},
        task_options={"multilabel": {"separator": label_separator}} if label_separator else {},
    )


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
    val: o.Val = 0.15,
    test: o.Test = 0.15,
    media_root: o.MediaRoot = None,
    encoding: o.Encoding = None,
    delimiter: o.Delimiter = None,
    image_size: ImageSize = None,
    store: Store = None,
    exact: Exact = False,
    max_pixels: MaxPixels = None,
    vocab_size: VocabSize = None,
    max_tokens: MaxTokens = None,
    tokenizer: TokenizerFile = None,
    sample_rate: SampleRate = None,
    mels: Mels = None,
    max_seconds: MaxSeconds = None,
    frames: Frames = None,
    max_bad: MaxBad = "5%",
    strict: Strict = False,
    workers: Workers = 0,
    for_: For = None,
    artifacts: o.Artifacts = Path("artifacts"),
    config: o.ConfigFile = None,
    set_: o.Set = None,
    seed: o.Seed = 0,
    json_: o.Json = False,
    quiet: o.Quiet = False,
    dry_run: o.DryRun = False,
    force: o.Force = False,
) -> None:
    """Turn a table into normalised tensors and token ids on disk."""
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
    context = o.begin(
        artifacts=artifacts,
        config=config,
        assignments=set_,
        stage="preprocess",
        seed=seed,
        quiet=quiet,
        force=force,
        dry_run=dry_run,
    )
    options = stage_options(
        columns=columns,
        encoding=encoding,
        delimiter=delimiter,
        val=val,
        test=test,
        image_size=image_size,
        store=store,
        exact=exact,
        max_pixels=max_pixels,
        vocab_size=vocab_size,
        max_tokens=max_tokens,
        tokenizer=tokenizer,
        sample_rate=sample_rate,
        mels=mels,
        max_seconds=max_seconds,
        frames=frames,
        label_separator=label_separator,
        max_bad=max_bad,
        strict=strict,
        workers=workers,
        for_=for_,
    )
    from mmcli.stages import preprocess

    o.end(preprocess.run(table, options, context), context, json_)
