"""What `preprocess` is told of a table beyond the roles of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from mmcli import registry
from mmcli.errors import ConfigError
from mmcli.options.columns import FACES, Delimiter, Encoding, Roles
from mmcli.options.faces import detectors
from mmcli.options.flags import Flag, Group
from mmcli.options.target import COLUMNS

IMAGES, TEXT, SOUND, QUALITY = "Images", "Text", "Sound and clips", "Unreadable cells and speed"


@dataclass(frozen=True, kw_only=True)
class OfModalities:
    """Those options of modalities that have a flag of their own."""

    image_size: Annotated[int | None, Flag("--image-size", "Height and width, in pixels. Default: 64.", panel=IMAGES)] = None
    store: Annotated[
        str | None,
        Flag(
            "--store",
            "float16 (default), or uint8: half the space, the same values when loaded.",
            metavar="DTYPE",
            panel=IMAGES,
        ),
    ] = None
    exact: Annotated[bool, Flag("--exact", "Decode JPEGs in full before resizing: slower.", panel=IMAGES)] = False
    max_pixels: Annotated[
        int | None, Flag("--max-pixels", "Pictures with more pixels are rejected. Default: 100000000.", panel=IMAGES)
    ] = None
    face_margin: Annotated[
        float | None,
        Flag(
            "--face-margin",
            "Shares of a face's width and height that are taken besides, on each side. Default: 0.2 of boxes, 0 of aligned "
            "faces.",
            min=0,
            max=1,
            panel=FACES,
        ),
    ] = None
    detector_score: Annotated[
        float | None,
        Flag("--detector-score", "From which score on the detector sees a face. Default: 0.6.", min=0, max=1, panel=FACES),
    ] = None
    vocab_size: Annotated[int | None, Flag("--vocab-size", "Most tokens to learn. Default: 8000.", panel=TEXT)] = None
    max_tokens: Annotated[int | None, Flag("--max-tokens", "Tokens kept of a cell. Default: 256.", panel=TEXT)] = None
    tokenizer: Annotated[
        Path | None, Flag("--tokenizer", "An existing tokenizer.json, instead of learning one.", panel=TEXT)
    ] = None
    sample_rate: Annotated[
        int | None, Flag("--sample-rate", "Sound is resampled to it, in Hz. Default: 16000.", panel=SOUND)
    ] = None
    mels: Annotated[int | None, Flag("--mels", "Bands of the spectrogram. Default: 80.", panel=SOUND)] = None
    max_seconds: Annotated[float | None, Flag("--max-seconds", "Seconds kept of a recording. Default: 10.", panel=SOUND)] = None
    frames: Annotated[int | None, Flag("--frames", "Frames taken of a clip, spread evenly. Default: 8.", panel=SOUND)] = None

    def by_modality(self) -> dict[str, dict[str, Any]]:
        """Modality -> its options that were said.

        Raises:
            ConfigError: a value that the modality cannot take.
        """
        from mmcli.config import validate

        said: dict[str, dict[str, Any]] = {
            "image": {
                "size": self.image_size,
                "store": self.store,
                "exact": self.exact or None,
                "max_pixels": self.max_pixels,
                "face_margin": self.face_margin,
                "detector_score": self.detector_score,
            },
            "text": {
                "vocab_size": self.vocab_size,
                "max_tokens": self.max_tokens,
                "tokenizer": str(self.tokenizer) if self.tokenizer else None,
            },
            "audio": {"sample_rate": self.sample_rate, "mels": self.mels, "max_seconds": self.max_seconds},
            "video": {"frames": self.frames},
        }
        given = {name: {key: v for key, v in own.items() if v is not None} for name, own in said.items()}
        given = {name: own for name, own in given.items() if own}
        for modality, own in given.items():
            validate(registry.config_class("modalities", modality), own, f"modality.{modality}")
        return given


def _encoders(texts: list[str]) -> dict[str, str]:
    pretrained = {}
    for text in texts:
        name, equals, encoder = text.partition("=")
        if not equals or not name or not encoder:
            raise ConfigError(f"--for {text!r} is not of the form NAME=ENCODER.", "E.g. --for image=timm:resnet18")
        registry.trust(encoder)
        registry.resolve("encoders", encoder)
        pretrained[name] = encoder
    return pretrained


def _max_bad(text: str) -> float:
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ConfigError(f"--max-bad {text!r} is not a share", "E.g. --max-bad 5% or --max-bad 0.05") from None


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    roles: Roles = field(default_factory=Roles)
    val: Annotated[float, Flag("--val", "Share of rows drawn for validation.", panel=COLUMNS, after="id")] = 0.15
    test: Annotated[float, Flag("--test", "Share of rows drawn for test.", panel=COLUMNS, after="val")] = 0.15
    split_by_time: Annotated[
        str | None,
        Flag(
            "--split-by-time",
            "Draw the splits by when rows happened: the last are test, those before them val. A column of dates or numbers.",
            metavar="COL",
            panel=COLUMNS,
            complete="columns",
            after="test",
        ),
    ] = None
    encoding: Encoding = None
    delimiter: Delimiter = None
    modality_options: Annotated[Mapping[str, Mapping[str, Any]], Group(OfModalities, OfModalities.by_modality)] = field(
        default_factory=dict
    )
    """Options given by flags, by modality: they win over the config file."""
    detectors: Annotated[
        Mapping[str, str],
        Flag(
            "--detector",
            "An ONNX file with YuNet's outputs that finds the largest face on each picture; the face is aligned. Repeat for "
            "files of their own for columns.",
            metavar="[IMAGE=]FILE",
            panel=FACES,
            many=True,
            parse=detectors,
        ),
    ] = field(default_factory=dict)
    """Column of pictures (empty: all) -> the file that finds faces on it."""
    max_bad: Annotated[
        float,
        Flag(
            "--max-bad",
            "Share of a column's cells that may be unreadable.",
            metavar="SHARE",
            panel=QUALITY,
            parse=_max_bad,
            shown="5%",
        ),
    ] = 0.05
    strict: Annotated[bool, Flag("--strict", "Any unreadable cell is an error.", panel=QUALITY)] = False
    workers: Annotated[int, Flag("--workers", "Threads; 0 for one a core. The result is the same.", min=0, panel=QUALITY)] = 0
    encoders: Annotated[
        Mapping[str, str],
        Flag(
            "--for",
            "Take over the tokenizer, size or normalisation of a pretrained encoder, for a column or a kind of column: "
            "image=timm:resnet18, notes=hf:DIR. Repeat.",
            metavar="NAME=ENCODER",
            panel=QUALITY,
            many=True,
            parse=_encoders,
        ),
    ] = field(default_factory=dict)
    """Column or modality -> the pretrained encoder whose tokenizer, size and normalisation are taken over."""
