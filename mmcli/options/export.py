"""What `export` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcli.errors import ConfigError
from mmcli.options.common import Common
from mmcli.options.flags import Flag, one_of
from mmcli.options.gallery import gallery_name
from mmcli.options.predict import ModelFolder

FORMATS = ("onnx", "onnx-int8", "torch-export", "safetensors")
OF_GALLERIES = ("parquet", "lancedb", "npz")


def _format(text: str) -> str:
    return one_of("--format", "format", text, (*FORMATS, *OF_GALLERIES))


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    format: Annotated[
        str | None,
        Flag(
            "--format",
            "onnx, onnx-int8, torch-export or safetensors; of a gallery parquet, lancedb or npz. Default: onnx; parquet.",
            metavar="NAME",
            parse=_format,
            complete=(*FORMATS, *OF_GALLERIES),
            show_default=False,
        ),
    ] = None
    to: Annotated[Path, Flag("--to", "The folder to write.", metavar="DIR")] = Path("exported")
    model: ModelFolder = None
    gallery: Annotated[
        str | None,
        Flag("--gallery", "Write a gallery, its vectors and rows, for another store.", metavar="NAME", parse=gallery_name),
    ] = None
    output: Annotated[
        Path | None,
        Flag(
            "--output",
            "Of a gallery: the file, or of lancedb the folder of the database. Default: NAME.parquet, NAME.lancedb.",
            short="-o",
            show_default=False,
        ),
    ] = None

    @property
    def of_model(self) -> str:
        """The format of a model."""
        return self.format or FORMATS[0]

    def beside(self, common: Common) -> None:  # noqa: ARG002 - as all options are asked
        """Looks at what the options say together.

        Raises:
            ConfigError: something of a gallery is said without one, or something of a model with one.
        """
        if self.gallery is None and (self.output is not None or self.format in OF_GALLERIES):
            flag = "-o" if self.output is not None else f"--format {self.format}"
            raise ConfigError(f"{flag} is for galleries", "Name one: --gallery NAME; a model goes --to a folder.")
        if self.gallery is not None and (self.model is not None or self.to != Path("exported") or self.format in FORMATS):
            wrong = "--model" if self.model is not None else f"--format {self.format}" if self.format in FORMATS else "--to"
            raise ConfigError(f"{wrong} is for models, not for a gallery", "Say where the gallery goes: -o FILE.")
