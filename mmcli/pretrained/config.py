"""The options that encoders share whose network comes from another library."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mmcli.config import Config


class BackboneConfig(Config):
    """What encoders share whose network comes from another library: where its weights are from, and which of them train."""

    weights: str = "none"
    """Where to start (--weights): `none` at random, `default` those published with the name (downloaded, if they are not here),
    or the path of a safetensors file or of a folder with one."""
    tune: str = Field("full", pattern=r"^(full|head|lora|last-[1-9][0-9]*)$")
    """What trains of a pretrained network (--tune): `full` all of it, `head` nothing, so that it runs once over each row,
    `last-2` its last two blocks (what is before them runs once too, where rows do not vary), `lora` low-rank additions to its
    linear layers."""
    layer_decay: float = Field(0.75, gt=0, le=1)
    """Factor on a pretrained network's learning rate from each block to the one before it."""
    lora_rank: int = Field(8, ge=1, le=512)
    """Rank of the additions of `lora`."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the pooled features."""
    convert: bool = False
    """Whether what the column holds is made into what pretrained weights were trained with: pictures and clips rescaled, texts
    tokenised anew as the column spells them. Else a column that was preprocessed otherwise is refused (preprocess --for)."""
    conversion: dict[str, Any] = Field(default_factory=dict)
    """How it is converted: filled in."""
