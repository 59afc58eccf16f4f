"""What `export` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcli.options.flags import Flag, one_of
from mmcli.options.predict import ModelFolder

FORMATS = ("onnx", "onnx-int8", "torch-export", "safetensors")


def _format(text: str) -> str:
    return one_of("--format", "format", text, FORMATS)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    format: Annotated[
        str, Flag("--format", "onnx, onnx-int8, torch-export or safetensors.", metavar="NAME", parse=_format, complete=FORMATS)
    ] = "onnx"
    to: Annotated[Path, Flag("--to", "The folder to write.", metavar="DIR")] = Path("exported")
    model: ModelFolder = None
