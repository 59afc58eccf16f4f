"""Clips: MP4, MOV, AVI, MKV, WebM and animated GIF through FFmpeg, to a few normalised RGB frames spread evenly over the time.

Which frames those are, and how little must be decoded to get them, is `mmcli.frames`' to know. Rotation that the file asks
for is applied. The time of each frame is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.media import files as media
from mmcli.media import frames, looking
from mmcli.media.pixels import affine, erase, square
from mmcli.modalities import Encoded, Guess, Modality, Reject, Strength, by_files
from mmcli.reporting.counts import counted
from mmcli.signals import Column, Signal, SignalSpec

_SUFFIXES = frozenset(
    [
        ".mp4",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".gif",
        ".m4v",
        ".mpg",
        ".mpeg",
        ".vob",
        ".ts",
        ".mts",
        ".m2ts",
        ".ogv",
        ".3gp",
        ".3g2",
        ".wmv",
        ".asf",
        ".flv",
        ".divx",
        ".dv",
        ".mxf",
    ]
)


class Config(BaseConfig):
    """How clips become tensors."""

    size: int = Field(64, ge=8, le=1024)
    """Height and width of the frames, in pixels."""
    frames: int = Field(8, ge=1, le=256)
    """Frames taken, spread evenly over the clip (--frames); a shorter clip repeats some."""
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    """What becomes of frames that are not square: stretched, cropped at the centre, or padded with black."""
    max_pixels: int = Field(40_000_000, ge=1)
    """Clips with more pixels to a frame are rejected, and animations with more than eight times as many in all."""
    mean: tuple[float, float, float] = (0.43216, 0.394666, 0.37645)
    """Mean of each colour, from 0 to 1: by default that of Kinetics-400, as torchvision's video models expect."""
    std: tuple[float, float, float] = (0.22803, 0.22145, 0.216989)
    """Deviation of each colour."""
    max_decoded: int = Field(3000, ge=1)
    """Frames decoded at most; where more were needed, the nearest frames that stand by themselves are taken."""
    flip: bool = False
    """Whether augmentation may mirror a clip."""


class Video(Modality):
    """Clips [frames, 3, size, size], with the time of each frame."""

    reads_files: ClassVar[bool] = True
    shard_rows: ClassVar[int] = 16
    corruptions: ClassVar[tuple[str, ...]] = ("dropped frames", "noise")
    encoders: ClassVar[tuple[str, ...]] = ("cnn-rnn",)
    more_encoders: ClassVar[tuple[tuple[str, int], ...]] = (("torchvision:r3d_18", 5000),)

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:
        """By suffix, and by opening the first of them that is there; GIFs only where they move."""
        share, reason, named = by_files(cells, media_root, "video", _SUFFIXES, "a clip")
        for cell in named[:20] if share >= 0.5 else ():
            try:
                clip = frames.index(media.source(media.resolve(cell, media_root)))
            except Exception:  # as above: told where the cell is read for good
                continue
            if looking.suffix(cell) == ".gif" and len(clip.moments) < 2:
                return Guess(0.0, "GIFs that do not move are images")
            size = f"{counted(len(clip.moments), 'frame')} of {clip.width} x {clip.height} in {clip.times[-1]:.2g} s"
            return Guess(0.995, f"{reason}; {media.shown(cell)} has {size}")
        gif = all(looking.suffix(cell) == ".gif" for cell in named)
        return Guess(0.9 if share >= 0.5 and not gif else 0.0, reason)

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:  # noqa: ARG003 - nothing to learn
        return cls(config)

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Values float16 [N, frames, 3, size, size], times float32 [N, frames]."""
        config = self.config
        pixels = torch.zeros(len(cells), config.frames, 3, config.size, config.size, dtype=torch.uint8)
        times = torch.zeros(len(cells), config.frames)
        present = torch.zeros(len(cells), dtype=torch.bool)
        rejects, remarks = [], Counter[str]()
        for position, cell in enumerate(cells):
            if cell is None:
                continue
            try:
                shown = _read(cell, config)
                pixels[position], times[position] = torch.stack(shown.kept), torch.tensor(shown.times)
                present[position] = True
                remarks.update(
                    [] if shown.exact else [f"whose nearest keyframes were taken (max_decoded = {config.max_decoded})"]
                )
                remarks.update(["with damaged frames, in whose place the ones before them stand"] if shown.lost else [])
            except Exception as error:  # decoders raise whatever damaged files lead them to
                rejects.append(Reject(position, cell, media.reason(error, "a clip that can be decoded")))
        mean, std = _statistics(config)
        values = torch.zeros(pixels.shape, dtype=torch.float16)
        for row in present.nonzero()[:, 0].tolist():
            values[row] = (((pixels[row].float() / 255) - mean) / std).half()
        return Encoded(Column(values, present, times=times), rejects, remarks)

    def colours(self) -> tuple[Sequence[float], Sequence[float]]:
        return self.config.mean, self.config.std

    def denormalize(self, values: Tensor) -> Tensor:
        """uint8 pixels [..., 3, H, W] from normalised values."""
        mean, std = _statistics(self.config)
        return ((values.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)

    def describe(self) -> SignalSpec:
        return SignalSpec(kind="clip", shape=(self.config.frames, 3, self.config.size, self.config.size))

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]))

    def linear_features(self, column: Column, train: Tensor) -> Any:  # noqa: ARG002 - pixels need no fitting
        """The mean frame, and the mean change from frame to frame, at 8 x 8: [N, 384]."""
        rows = []
        for part in column.values.split(128):
            small = F.adaptive_avg_pool2d(part.float().flatten(0, 1), 8).unflatten(0, part.shape[:2])
            change = small.diff(dim=1).abs().mean(1) if small.shape[1] > 1 else torch.zeros_like(small[:, 0])
            rows.append(torch.cat([small.mean(1).flatten(1), change.flatten(1)], 1))
        return torch.cat(rows).numpy()

    def corrupt(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:
        """dropped frames: each with probability `level`, the one before it standing still; noise: of one deviation."""
        values = column.values
        if how == "noise":
            values = (values.float() + level * torch.randn(values.shape, generator=generator)).half()
            return Column(values * column.present[:, None, None, None, None], column.present, times=column.times)
        steps = torch.arange(values.shape[1]).expand(len(values), -1)
        kept = (torch.rand(steps.shape, generator=generator) >= level) | (steps == 0)
        shown = torch.where(kept, steps, 0).cummax(1).values
        return Column(values.gather(1, shown[..., None, None, None].expand_as(values)), column.present, times=column.times)

    def augment(self, signal: Signal, strength: Strength) -> Signal:
        """light: one shift, scale and brightness for all frames of a clip; mirrored where `flip` allows.
        strong: frames besides exchanged for their neighbours now and then, and a square blanked."""
        values, times = signal.values.float(), signal.times
        if strength == "strong":
            steps = values.shape[1]
            other = torch.arange(steps, device=values.device) + torch.randint(-1, 2, values.shape[:2], device=values.device)
            other = other.clamp(0, steps - 1).sort(1).values
            rows = torch.arange(len(values), device=values.device)[:, None]
            values, times = values[rows, other], None if times is None else times[rows, other]
            values = erase(values.flatten(1, 2), 1.0).reshape(values.shape)
        B, T, C, H, W = values.shape
        device = values.device
        theta = torch.zeros(B, 2, 3, device=device)
        scale = torch.empty(B, device=device).uniform_(0.85, 1.1)
        mirror = (
            torch.where(torch.rand(B, device=device) < 0.5, -1.0, 1.0) if self.config.flip else torch.ones(B, device=device)
        )
        theta[:, 0, 0], theta[:, 1, 1] = scale * mirror, scale
        theta[:, :, 2] = torch.empty(B, 2, device=device).uniform_(-0.12, 0.12)
        moved = affine(values.reshape(B, T * C, H, W), theta)
        light = torch.empty(B, 1, 1, 1, 1, device=device).uniform_(-0.2, 0.2)
        return replace(signal, values=moved.reshape(B, T, C, H, W) + light, times=times)


def decode(path: str, config: Config) -> tuple[Tensor, Tensor, bool]:
    """uint8 [frames, 3, size, size]; the frames' times in seconds, float32 [frames]; whether they are those that were wanted.

    Raises:
        OSError, ValueError: it cannot be read, holds no frames, or too few of them can be decoded.
    """
    shown = _read(path, config)
    return torch.stack(shown.kept), torch.tensor(shown.times, dtype=torch.float32), shown.exact


def _read(path: str, config: Config) -> frames.Shown[Tensor]:
    found = media.unmarked(path)
    clip = frames.index(found)
    most = frames.bounded(clip, config.max_pixels, config.max_decoded)
    return frames.pick(found, clip, config.frames, most, lambda frame: _squared(frame, config))


def _squared(frame: Any, config: Config) -> Tensor:
    """uint8 [3, size, size], upright."""
    frames.checked(frame, config.max_pixels)
    turns = round((frame.rotation or 0) / 90) % 4
    shrink = min(frame.width, frame.height) // (2 * config.size)
    if shrink >= 2:  # towards twice the size by area, in the decoder's own colours
        frame = frame.reformat(width=frame.width // shrink, height=frame.height // shrink, interpolation="AREA")
    pixels = np.rot90(frame.to_ndarray(format="rgb24"), turns)
    grid = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    return square(grid, config.size, config.fit, fill=0)[0]


def _statistics(config: Config) -> tuple[Tensor, Tensor]:
    return torch.tensor(config.mean).reshape(3, 1, 1), torch.tensor(config.std).reshape(3, 1, 1)
