"""Pictures: any format that Pillow reads, to normalised RGB tensors of one size.

How files become pixels is `media.pictures`' to know, how faces are taken out of them `media.faces`'; of pictures deeper than
8 bits the levels of the column are learnt from the train split. JPEGs are decoded at the smallest scale that is at least
twice the size wanted, unless `exact`. Resizing is torchvision's antialiased bicubic, on bytes.
"""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PillowImage
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError, MissingPackageError
from mmcli.media import addresses, faces, pictures
from mmcli.media import files as media
from mmcli.media.detecting import MOST_BYTES, Detector
from mmcli.media.faces import Framing
from mmcli.media.pixels import affine, blurred, erase, square, trivial_augment
from mmcli.modalities import Encoded, Guess, Modality, Reject, Strength, by_files
from mmcli.signals import Column, Signal, SignalSpec, sent

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".png",
        ".gif",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".ico",
        ".tga",
        ".jp2",
        ".avif",
        ".jfif",
        ".jpe",
        ".heic",
        ".heif",
        ".hif",
        ".j2k",
        ".pnm",
        ".dib",
    ]
)
_FIT_SAMPLE = 2000
_FIT_DEPTHS = 64
"""Pictures of the train split that are asked how deep and how wide they are."""
_LINES = 2.0
"""Width to height from which on pictures are lines of print."""


class Config(BaseConfig):
    """How pictures become tensors."""

    size: int = Field(64, ge=8, le=2048)
    """Height and width of the tensors, in pixels (--image-size)."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """What becomes of pictures that are not square: stretched, cropped at the centre, or padded with white."""
    normalize: Literal["imagenet", "train", "given"] = "imagenet"
    """Whose mean and standard deviation are used: ImageNet's, those of the train split, or `mean` and `std`."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """With `given`: the mean of each colour, from 0 to 1."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """With `given`: the deviation of each colour."""
    store: Literal["float16", "uint8"] = "float16"
    """What lies on disk: normalised float16, or bytes that give the same float16 values when loaded (--store)."""
    exact: bool = False
    """Decode JPEGs in full before resizing: slower, within about one grey level of the default (--exact)."""
    max_pixels: int = Field(100_000_000, ge=1)
    """Pictures with more pixels are not decoded but rejected, and deep ones that take more bytes than so many in colour do."""
    face_margin: float | None = Field(None, ge=0, le=1)
    """Shares of a face's width and height that are taken besides, on each side (--face-margin). Default: 0.2 of boxes; 0 of
    faces that are aligned."""
    detector: str = ""
    """Path of an ONNX file with YuNet's outputs that finds the face on each picture (--detector)."""
    detector_score: float = Field(0.6, gt=0, lt=1)
    """From which score on the detector sees a face (--detector-score)."""
    flip: bool = False
    """Whether augmentation may mirror a picture: wrong for writing, right for most photographs."""


class Image(Modality):
    """Pictures as grids [3, size, size]."""

    reads_files: ClassVar[bool] = True
    shard_rows: ClassVar[int] = 64
    corruptions: ClassVar[tuple[str, ...]] = ("noise", "blur", "jpeg")
    encoders: ClassVar[tuple[str, ...]] = ("cnn",)
    plain_encoders: ClassVar[tuple[str, ...]] = ("pixels", "edges", "gradients", "colours")
    aligning_encoders: ClassVar[tuple[str, ...]] = ("pixels", "edges", "colours")
    likeness_encoders: ClassVar[tuple[str, ...]] = ("gradients",)
    more_encoders: ClassVar[tuple[tuple[str, int], ...]] = (("torchvision:resnet18", 5000),)

    def __init__(
        self,
        config: Config,
        mean: Sequence[float],
        std: Sequence[float],
        levels: pictures.Levels | None = None,
        shape: float = 1.0,
        detector: bytes = b"",
    ) -> None:
        self.config = config
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.levels = dict(levels or {})
        self.shape = shape
        """Width to height of the train pictures, the median."""
        found = Detector(detector, config.detector_score) if detector else None
        self._framing = Framing(config.size, config.face_margin, found)

    @property
    def text_encoders(self) -> tuple[str, ...]:  # type: ignore[override]
        """Wide pictures are lines of print, to be read from left to right; others are looked at."""
        return ("crnn",) if self.shape >= _LINES else ("cnn",)

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:
        """By suffix, and by opening the first of them that is there."""
        share, reason, named = by_files(cells, media_root, "image", _SUFFIXES, "an image file")
        why = ""
        for cell in named[:20] if share >= 0.5 else ():
            try:
                with pictures.opened(media.source(media.resolve(cell, media_root))) as image:
                    return Guess(0.99, f"{reason}; {media.shown(cell)} is a {image.format} of {image.width} x {image.height}")
            except Exception as error:
                why = why or media.reason(error, "an image that Pillow can read")
        return Guess(0.9, f"{reason}; none could be opened: {why}") if share >= 0.5 else Guess(0.0, reason)

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:
        """The levels of pictures deeper than 8 bits; and where asked for, mean and standard deviation, of the first pictures of
        the train split."""
        first = list(islice(cells, _FIT_DEPTHS))
        near = [cell for cell in first if not addresses.is_far(cell)] or first[:8]
        levels, shape = pictures.learnt_levels(near, config.max_pixels), _shape(near, bool(config.detector))
        given = config.normalize == "given"
        mean, std = (config.mean, config.std) if given else (IMAGENET_MEAN, IMAGENET_STD)
        own = cls(config, mean, std, levels, shape, _read_detector(config.detector) if config.detector else b"")
        own._load_detector()
        if config.normalize != "train":
            return own
        total, squares, count = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 0
        for cell in islice(chain(first, cells), _FIT_SAMPLE):
            try:
                pixels = _decode(cell, config, levels, own._framing)[0].double() / 255
            except Exception:  # told where the cell is read for good
                continue
            total += pixels.mean((1, 2))
            squares += pixels.square().mean((1, 2))
            count += 1
        average = total / max(count, 1)
        own.mean = tuple(average.tolist())
        own.std = tuple((squares / max(count, 1) - average.square()).clamp(min=1e-4).sqrt().tolist())
        return own

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Values [N, 3, size, size]: float16 normalised, or uint8 with `store = "uint8"`."""
        size = self.config.size
        pixels = torch.zeros(len(cells), 3, size, size, dtype=torch.uint8)
        present = torch.zeros(len(cells), dtype=torch.bool)
        rejects, remarks = [], Counter[str]()
        self._load_detector()
        for position, cell in enumerate(cells):
            if cell is None:
                continue
            try:
                pixels[position], told = _decode(cell, self.config, self.levels, self._framing)
                remarks.update(told)
                present[position] = True
            except Exception as error:  # decoders raise whatever damaged files lead them to
                rejects.append(Reject(position, cell, media.reason(error, "an image that Pillow can read")))
        if self.config.store == "uint8":
            return Encoded(Column(pixels, present), rejects, remarks)
        return Encoded(Column(self._normalize(pixels, present), present), rejects, remarks)

    def restore(self, column: Column) -> Column:
        """Normalises stored bytes: the same float16 values as were they stored."""
        if column.values.dtype != torch.uint8:
            return column
        return Column(self._normalize(column.values, column.present), column.present)

    def colours(self) -> tuple[Sequence[float], Sequence[float]]:
        return self.mean, self.std

    def denormalize(self, values: Tensor) -> Tensor:
        """uint8 pixels [..., 3, H, W] from normalised values: the reverse of what was stored."""
        mean, std = self._statistics(values.device)
        return ((values.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)

    def describe(self) -> SignalSpec:
        return SignalSpec(kind="grid", shape=(3, self.config.size, self.config.size))

    def state(self) -> dict[str, Any]:
        levels = {kind: list(ends) for kind, ends in self.levels.items()}
        own = {"config": self.config.model_dump(), "mean": list(self.mean), "std": list(self.std), "levels": levels}
        found = self._framing.detector
        detector = {"detector": base64.b64encode(found.data).decode("ascii")} if found else {}
        return {**own, "shape": self.shape, **detector}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        levels = {kind: (black, white) for kind, (black, white) in state.get("levels", {}).items()}
        detector = base64.b64decode(state.get("detector", ""), validate=True)
        return cls(Config(**state["config"]), state["mean"], state["std"], levels, state.get("shape", 1.0), detector)

    def linear_features(self, column: Column, train: Tensor) -> Any:  # noqa: ARG002 - pixels need no fitting
        """Pixels at 16 x 16: [N, 768]."""
        small = [F.adaptive_avg_pool2d(part.float(), 16).flatten(1) for part in column.values.split(1024)]
        return torch.cat(small).numpy()

    def disagreements(self, wanted: Mapping[str, Any]) -> list[str]:
        """Mean and deviation are compared as they came out, whatever they were called."""
        own = {**self.config.model_dump(), "mean": self.mean, "std": self.std}
        named = {key: value for key, value in wanted.items() if key != "normalize"}
        return [f"{key} is {own[key]}, not {value}" for key, value in named.items() if own[key] != value]

    def corrupt(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:
        """noise: of one deviation of the pixels at level 1; blur: over a sixteenth of the side; jpeg: down to quality 5."""
        values = column.values.float()
        if how == "noise":
            values = values + level * torch.randn(values.shape, generator=generator)
        elif how == "blur" and level > 0:
            sigma = max(level * self.config.size / 16, 0.1)
            values = torch.cat([blurred(part, sigma) for part in values.split(256)])
        elif how == "jpeg" and level > 0:
            quality = round(95 - 90 * level)
            pixels = torch.stack([_through_jpeg(own, quality) for own in self.denormalize(values)])
            values = self._normalize(pixels, column.present).float()
        return Column((values * column.present[:, None, None, None]).half(), column.present)

    def augment(self, signal: Signal, strength: Strength) -> Signal:
        """light: shifts, scales, turns, brightness and contrast, a blanked square; mirrored where `flip` allows.
        strong: TrivialAugment besides, and the square in every picture."""
        values = signal.values.float()
        if strength == "strong":
            mean, std = self._statistics(values.device)
            values = (trivial_augment((values * std + mean).clamp(0, 1)) - mean) / std
        values = affine(values, _moves(len(values), values.device, self.config.flip))
        return replace(signal, values=erase(_jitter(values), 1.0 if strength == "strong" else 0.5))

    def _load_detector(self) -> None:
        """Raises ConfigError where there is a detector that cannot be run: no cell is to blame for that."""
        if self._framing.detector is not None:
            _load(self._framing.detector, self.config.detector)

    def _normalize(self, pixels: Tensor, present: Tensor) -> Tensor:
        mean, std = self._statistics(pixels.device)
        values = torch.empty(pixels.shape, dtype=torch.float16, device=pixels.device)
        for start in range(0, len(pixels), 8):  # few at a time: they stay in the cache
            values[start : start + 8] = pixels[start : start + 8].float().div_(255).sub_(mean).div_(std)
        values[~present] = 0
        return values

    def _statistics(self, device: torch.device) -> tuple[Tensor, Tensor]:
        mean, std = (sent(torch.tensor(own).reshape(3, 1, 1), device) for own in (self.mean, self.std))
        return mean, std


def decode(path: str, config: Config) -> Tensor:
    """uint8 [3, size, size] from a file.

    Raises:
        OSError, ValueError, SyntaxError: it cannot be read, or has more than `max_pixels`.
    """
    return _decode(path, config, {}, Framing(config.size, config.face_margin))[0]


def _shape(paths: Sequence[str], detected: bool) -> float:
    """Width to height, the median of those that can be opened; 1 where none can."""
    found = []
    for path in paths:
        try:
            with pictures.opened(media.source(path)) as image:
                found.append(faces.shape(path, image.width, image.height, detected))
        except Exception:  # decoders raise whatever damaged files lead them to; it is told where the cell is read for good
            continue
    return round(float(np.median(found)), 3) if found else 1.0


def _decode(path: str, config: Config, levels: pictures.Levels, framing: Framing) -> tuple[Tensor, tuple[str, ...]]:
    picture = faces.read(path, 0 if config.exact else 2 * config.size, config.max_pixels, levels, framing)
    pixels_BCHW = torch.from_numpy(picture.pixels).permute(2, 0, 1)[None]
    return square(pixels_BCHW, config.size, config.fit, fill=255)[0], picture.told


def check_detector(file: str) -> None:
    """Raises ConfigError where a file cannot find faces."""
    _load(Detector(_read_detector(file)), file)


def _load(detector: Detector, file: str) -> None:
    try:
        detector.load()
    except ImportError:
        raise MissingPackageError(
            "a detector of faces needs the package onnxruntime, which is not installed",
            "Where mmcli was installed from: pip install '.[export]'",
        ) from None
    except ValueError as error:
        raise ConfigError(f"--detector {file}: {error}", "Give YuNet's, e.g. face_detection_yunet_2023mar.onnx.") from None


def _read_detector(file: str) -> bytes:
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"--detector {path}: there is no such file", "Give an ONNX file with YuNet's outputs.")
    if not 0 < path.stat().st_size <= MOST_BYTES:
        raise ConfigError(f"--detector {path} has {path.stat().st_size:,} bytes: expected up to {MOST_BYTES:,}, and some")
    return path.read_bytes()


def _moves(rows: int, device: torch.device, flip: bool) -> Tensor:
    angle = (torch.rand(rows, device=device) - 0.5) * (math.pi / 9)
    scale = torch.empty(rows, device=device).uniform_(0.85, 1.15)
    mirror = torch.where(torch.rand(rows, device=device) < 0.5, -1.0, 1.0) if flip else torch.ones(rows, device=device)
    theta = torch.zeros(rows, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 0, 1] = scale * angle.cos() * mirror, -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = scale * angle.sin() * mirror, scale * angle.cos()
    theta[:, :, 2] = torch.empty(rows, 2, device=device).uniform_(-0.12, 0.12)
    return theta


def _jitter(values: Tensor) -> Tensor:
    rows = len(values)
    contrast = torch.empty(rows, 1, 1, 1, device=values.device).uniform_(0.8, 1.2)
    brightness = torch.empty(rows, 3, 1, 1, device=values.device).uniform_(-0.2, 0.2)
    return values * contrast + brightness


def _through_jpeg(pixels_CHW: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels_CHW.permute(1, 2, 0).contiguous().numpy()).save(buffer, "JPEG", quality=quality)
    return torch.from_numpy(np.array(PillowImage.open(buffer))).permute(2, 0, 1)
