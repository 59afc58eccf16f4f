"""What the command is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    methods: tuple[str, ...] = ("gated",)
    """`all` stands for every method there is."""
    inputs: tuple[str, ...] = ()
    """Columns to fuse; by default all."""
    encoders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Input -> architectures, where not all that are trained."""
    best_only: bool = False
    """Of each input only the encoder that is best on val."""
    train_encoders: bool = False
    modality_dropout: float | None = None
    """While training, how often each input is taken away; by default as configured."""
    align: float | None = None
    """Weight of the contrastive loss between columns, where encoders train too."""
    seeds: int | None = None
    """Fusions trained from as many seeds, and averaged; by default SEEDS, and 1 through the encoders."""
    order: tuple[str, ...] = ()
    """Inputs in the order in which methods that care for it read them."""
    explain: bool = False
    """Whether to show the columns' mean weights."""
    workers: int = 0
    """Processes that train methods side by side; 0 for one a core."""
    board: bool = True
    """Whether the leaderboard is written."""
