"""What val decides, told beforehand: where all labelled rows are trained on, what folds have come to stands for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Fixed:
    """Of encoders and F; numbers and names alone, so that another process can be told, and a fingerprint be made of it."""

    encoders: Mapping[str, Mapping[str, Any]]
    """Name of an encoder's artifact -> its `epochs`; and where a linear model is joined to it, its `linear`: see
    `jobs.solving.Joined`."""
    epochs: int
    """Of F and its head."""
    swap: Mapping[str, float]
    """Name of an encoder in F -> how often its features are swapped in training: see `jobs.fusion.swap_share`."""
    beside: Mapping[str, Any] | None = None
    """How the columns' own decisions count beside F: see `jobs.deciding.Told`; None: not at all."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`."""
        return cls(**said)
