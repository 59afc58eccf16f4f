"""What `export` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcli.errors import ConfigError, unknown
from mmcli.options.flags import Flag
from mmcli.options.predict import ModelFolder

FORMATS = ("onnx", "onnx-int8", "torch-export", "safetensors")


def _format(text: str) -> str:
    if text not in FORMATS:
        raise ConfigError(f"--format {text}: {unknown('format', text, FORMATS)}")
    return text


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    format: Annotated[str, Flag("--format", "onnx, onnx-int8, torch-export or safetensors.", metavar="NAME", parse=_format)] = (
        "onnx"
    )
    to: Annotated[Path, Flag("--to", "The folder to write.", metavar="DIR")] = Path("exported")
    model: ModelFolder = None
