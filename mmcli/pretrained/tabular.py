"""Tabular foundation models on disk: what TabICL's config.json may say, within bounds, and the weights that go with it.

Knows the file formats; the network itself, whose code is the package tabicl's, is built elsewhere. TabICL: Qu et al. 2025.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

import safetensors
from pydantic import Field, model_validator
from torch import Tensor

from mmcli.config import Config, validate
from mmcli.errors import ConfigError
from mmcli.pretrained import weights

MOST_NUMBERS = 100_000_000
"""Of a network: that which is published has 27.6 million."""


class Network(Config):
    """What `tabicl.TabICL` is built with, by the names that its checkpoints have for it, but for how it was trained."""

    max_classes: int = Field(10, ge=0, le=1000)
    """Classes that it tells at most; none of a regressor."""
    num_quantiles: int = Field(999, ge=1, le=10_000)
    """Quantiles that a regressor gives."""
    embed_dim: int = Field(128, ge=1, le=1024)
    """Width of a cell's embedding."""
    col_num_blocks: int = Field(3, ge=1, le=64)
    """Blocks that look down a column."""
    col_nhead: int = Field(8, ge=1, le=64)
    """Their heads."""
    col_num_inds: int = Field(128, ge=1, le=4096)
    """Vectors through which the rows of a column are looked at."""
    col_affine: bool = False
    """Whether a cell's embedding is an affine function of it."""
    col_feature_group: bool | Literal["same", "valid"] = "same"
    """How columns are grouped."""
    col_feature_group_size: int = Field(3, ge=1, le=32)
    """Columns of a group."""
    col_target_aware: bool = True
    """Whether columns are looked at together with the target."""
    col_ssmax: bool | str = "qassmax-mlp-elementwise"
    """How attention down a column is scaled with the number of rows."""
    row_num_blocks: int = Field(3, ge=1, le=64)
    """Blocks that look along a row."""
    row_nhead: int = Field(8, ge=1, le=64)
    """Their heads."""
    row_num_cls: int = Field(4, ge=1, le=32)
    """Embeddings that a row comes to."""
    row_rope_base: float = Field(100_000, ge=1, le=1e12)
    """Of the rotary positions of columns."""
    row_rope_interleaved: bool = True
    """How these pair up numbers."""
    icl_num_blocks: int = Field(12, ge=1, le=64)
    """Blocks in which rows look at those whose target is known."""
    icl_nhead: int = Field(8, ge=1, le=64)
    """Their heads."""
    icl_ssmax: bool | str = "qassmax-mlp-elementwise"
    """How their attention is scaled with the number of rows."""
    ff_factor: int = Field(2, ge=1, le=16)
    """Width inside a block over that outside."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of training."""
    activation: Literal["gelu", "relu"] = "gelu"
    """Inside a block."""
    norm_first: bool = True
    """Whether blocks normalise what they read."""
    bias_free_ln: bool = False
    """Whether normalisations have no bias."""
    zero_init: bool = True
    """How training began."""
    recompute: bool = False
    """Whether training saved memory."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        """Refuses before anything is built what memory should not be asked for."""
        if self.numbers > MOST_NUMBERS:
            raise ValueError(f"it tells of a network of about {self.numbers:,} numbers, of which {MOST_NUMBERS:,} are taken")
        return self

    @property
    def numbers(self) -> int:
        """About how many the network holds: those of its blocks and of its last layer."""
        narrow, wide = self.embed_dim, self.embed_dim * self.row_num_cls
        each, answers = 4 + 2 * self.ff_factor, self.max_classes or self.num_quantiles
        columns = self.col_num_blocks * (2 * each * narrow**2 + self.col_num_inds * narrow)
        rows = self.row_num_blocks * each * narrow**2
        return columns + rows + self.icl_num_blocks * each * wide**2 + 2 * wide * (wide + answers)


def network(folder: Path) -> Network:
    """What a folder's config.json tells.

    Raises:
        ConfigError: it is no such config, or tells of more than is taken.
    """
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"{folder / 'config.json'} cannot be read: {error}", "Make it of the checkpoint anew.") from None
    if not isinstance(said, dict):
        raise ConfigError(f"{folder / 'config.json'} is no JSON object", "Make it of the checkpoint anew.")
    return validate(Network, said, f"{folder / 'config.json'}")


def file(folder: Path) -> Path:
    """The folder's safetensors.

    Raises:
        ConfigError: there are several.
    """
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise ConfigError(f"{folder} holds {len(found)} .safetensors files", "Leave the one of that config.json there.")
    return found[0]


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Those of its weights, of which none are read.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        with safetensors.safe_open(file(folder), "pt") as opened:
            return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ConfigError(f"{file(folder)} is not a readable safetensors file: {error}") from None


def tensors(folder: Path) -> dict[str, Tensor]:
    """Its weights, by the names that the network has for them.

    Raises:
        ConfigError: the file cannot be read.
    """
    return weights.read(file(folder))
