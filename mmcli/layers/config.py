"""The options that perceptrons over forms share."""

from __future__ import annotations

from pydantic import Field

from mmcli.config import Config


class PerceptronConfig(Config):
    """What perceptrons over fields or a vector share: how wide they are, and what is hidden while they train."""

    hidden: int = Field(192, ge=1)
    """Width of the layers, and of the features."""
    bins: int = Field(16, ge=1)
    """Pieces of the encoding of a number."""
    dropout: float = Field(0.25, ge=0, lt=1)
    """Dropout in every layer."""
    field_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of fields taken for missing while training."""
