"""What a linear model reads of a signal, times one matrix: nothing else is learnt. The plain member of a fused model holds it.

    features = ((x - mean) * scale) W,   mean and deviation of train rows, scale = 1 / (deviation sqrt(F)): rows of length one

x is small pixels of a picture; of a clip those of its mean frame and of the mean change from frame to frame; of a sequence or a
spectrogram mean and deviation of each band, and its mean in each quarter; a vector as it is; of a form each number and whether
it is missing, and of each category an indicator of every id and of none. Texts have `bag`. Parameters: F D + D.

With `logs` a number v is there twice, as it is and as log(1 + (v - least) / unit), where a log scale at least halves the
skewness that it has among train rows: `least` is the least of these, and `unit` what v exceeds it by in the median row.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.layers.starting import drawn
from mmcli.signals import Kind, Signal, SignalSpec, Source
from mmcli.vectors.skewed import eased, skewness

TRAINING = {"epochs": 60, "learning_rate": 1e-2, "batch_size": 64, "weight_decay": 0.01, "patience": 12}
CLIP_SIDE = 8
"""Pixels a side of a clip's frames."""
LEAST = 1e-6
"""Deviation up to which train rows have all the same number, which then tells nothing."""


class Config(BaseConfig):
    """How fine, and how many features."""

    dim: int = Field(64, ge=1)
    """Width of the features."""
    side: int = Field(16, ge=1, le=64)
    """Height and width of the pixels of a picture."""
    logs: bool = False
    """Whether numbers of a form that are skewed to the right enter on a log scale besides."""


class Plain(Encoder):
    """Any signal but ids -> one token, the pooled features."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid", "clip", "sequence", "spectrogram", "vector", "fields"})
    keeps_order: ClassVar[bool] = False

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.dim)
        self.config, self.spec = config, spec
        width = _width(config, spec)
        self.weights = nn.Parameter(drawn(width, config.dim))
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.full((width,), width**-0.5))
        logs = config.logs and spec.kind == "fields"
        self.least: Tensor | None
        self.unit: Tensor | None
        self.register_buffer("least", torch.zeros(len(spec.fields)) if logs else None)
        self.register_buffer("unit", torch.zeros(len(spec.fields)) if logs else None)

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        return (_width(config, spec) + 1) * config.dim

    def fit(self, column: Source) -> None:
        """Mean and deviation of what it reads of the rows that are there."""
        rows = column.present.nonzero()[:, 0]
        if not len(rows):
            return
        self._fit_logs(column, rows)
        x = torch.cat([self._observed(column.gather(part)).double().cpu() for part in rows.split(256)])
        self.mean.copy_(x.mean(0))
        deviation = x.std(0, unbiased=False)
        width = x.shape[1] - self._plain_numbers()  # which have no log, though there is room for it
        self.scale.copy_(torch.where(deviation > LEAST, 1 / (deviation * width**0.5), 0.0))

    def _fit_logs(self, column: Source, rows: Tensor) -> None:
        """Which numbers are skewed among those rows, and how they are laid on a log scale."""
        if self.least is None or self.unit is None:
            return
        self.least.zero_()
        self.unit.zero_()
        values_BF = torch.cat([column.gather(part).values.double().cpu() for part in rows.split(256)]).numpy()
        for place, field in enumerate(self.spec.fields):
            own = values_BF[:, place][~np.isnan(values_BF[:, place])]
            risen = own - own.min() if len(own) else own
            if field.categories or not (risen > 0).any():
                continue
            unit = float(np.median(risen[risen > 0]))
            if eased(skewness(own), skewness(np.log1p(risen / unit))):
                self.least[place], self.unit[place] = float(own.min()), unit

    def _plain_numbers(self) -> int:
        if self.unit is None:
            return 0
        return sum(not field.categories and not unit for field, unit in zip(self.spec.fields, self.unit.tolist(), strict=True))

    def observe(self, signal: Signal) -> Tensor:
        """[B, F] of what it reads, centred and scaled."""
        return (self._observed(signal) - self.mean) * self.scale

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        pooled = self.observe(signal) @ self.weights
        return pooled, pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool)

    def _observed(self, signal: Signal) -> Tensor:
        kind, values = self.spec.kind, signal.values.float()
        if kind == "grid":
            return F.adaptive_avg_pool2d(values, self.config.side).flatten(1)
        if kind == "clip":
            small = F.adaptive_avg_pool2d(values.flatten(0, 1), CLIP_SIDE).unflatten(0, values.shape[:2])
            change = small.diff(dim=1).abs().mean(1) if small.shape[1] > 1 else torch.zeros_like(small[:, 0])
            return torch.cat([small.mean(1).flatten(1), change.flatten(1)], 1)
        if kind == "fields":
            return self._form(values)
        return values if kind == "vector" else _bands(values, signal)

    def _form(self, values_BF: Tensor) -> Tensor:
        missing, values = values_BF.isnan(), values_BF.nan_to_num()
        parts = []
        for place, field in enumerate(self.spec.fields):
            gone, own = missing[:, place], values[:, place]
            if field.categories:
                ids = torch.where(gone, field.categories, own.long().clamp(0, field.categories - 1))
                parts.append(F.one_hot(ids, field.categories + 1).float())
            elif self.least is None or self.unit is None:
                parts.append(torch.stack([own, gone.float()], 1))
            else:
                parts.append(torch.stack([own, _logged(own, self.least[place], self.unit[place]), gone.float()], 1))
        return torch.cat(parts, 1)


def _logged(values: Tensor, least: Tensor, unit: Tensor) -> Tensor:
    """On a log scale; zero where there is no unit."""
    risen = (values - least).clamp(min=0.0) / torch.where(unit > 0, unit, torch.ones_like(unit))
    return torch.where(unit > 0, torch.log(1 + risen), torch.zeros_like(risen))


def _width(config: Config, spec: SignalSpec) -> int:
    """F: how many numbers it reads."""
    if spec.kind == "grid":
        return spec.shape[0] * config.side**2
    if spec.kind == "clip":
        return 2 * spec.shape[-3] * CLIP_SIDE**2
    if spec.kind == "fields":
        of_number = 3 if config.logs else 2
        return sum(field.categories + 1 if field.categories else of_number for field in spec.fields)
    return spec.shape[-1] if spec.kind == "vector" else 6 * spec.shape[-1]


def _bands(values_BTD: Tensor, signal: Signal) -> Tensor:
    """[B, 6 D]: mean, deviation, and the mean in each quarter of a row's own steps, a step being shared by two where it lies
    across their border."""
    mask = signal.mask().float()
    length = mask.sum(1, keepdim=True).clamp(min=1)
    kept = values_BTD * mask[..., None]
    mean = kept.sum(1) / length
    spread = ((values_BTD - mean[:, None]) * mask[..., None]).square().sum(1) / length
    start = 4 * torch.arange(mask.shape[1], device=mask.device)[None, None]
    first = length[:, None] * torch.arange(4, device=mask.device)[None, :, None]
    overlap = torch.minimum(start + 4, first + length[:, None]) - torch.maximum(start, first)
    shares_B4T = overlap.clamp(min=0) * mask[:, None] / length[:, None]
    quarters = shares_B4T @ kept
    return torch.cat([mean, (spread + 1e-12).sqrt(), quarters.flatten(1)], 1)
