"""What `run` is told: what its stages are, but for what only makes sense stage by stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from mmcli.options import evaluate, fuse, optimize, preprocess, train_encoder
from mmcli.options.flags import Flag


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is its own."""

    no_optimize: Annotated[bool, Flag("--no-optimize", "Leave the stage optimize out.", panel="Models")] = False


STAGES: tuple[type, ...] = (
    preprocess.Options,
    train_encoder.Options,
    fuse.Options,
    Options,
    optimize.Options,
    evaluate.Options,
)
LEFT_OUT: dict[type, tuple[str, ...]] = {
    train_encoder.Options: ("columns", "tokens", "batch_size", "profile"),
    fuse.Options: ("inputs", "encoders", "align", "order", "explain", "workers", "board"),
    optimize.Options: ("method", "max_drop", "pick", "ensemble", "coverage", "join", "skip", "more"),
    evaluate.Options: ("slices", "quick", "compare"),
}
"""Class -> its options that `run` does not take."""
