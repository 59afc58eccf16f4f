"""What `preprocess` is told of a table beyond the roles of its columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mmcli.data.roles import Roles


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    roles: Roles = field(default_factory=Roles)
    encoding: str | None = None
    delimiter: str | None = None
    val: float = 0.15
    test: float = 0.15
    max_bad: float = 0.05
    strict: bool = False
    workers: int = 0
    modality_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Options given by flags, by modality: they win over the config file."""
    encoders: dict[str, str] = field(default_factory=dict)
    """Column or modality -> the pretrained encoder whose tokenizer, size and normalisation are taken over."""
    task_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The same by task."""
