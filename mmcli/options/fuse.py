"""What `fuse` is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from mmcli import registry
from mmcli.errors import ConfigError, combine
from mmcli.options.columns import Head, encoders_by_input
from mmcli.options.common import All
from mmcli.options.flags import Flag
from mmcli.options.made import wrong_inputs
from mmcli.options.training import BatchSize, Epochs, LearningRate, TimeBudget

ALL = "all"
DEFAULT = "gated"


def _methods(names: list[str]) -> list[str]:
    for name in names:
        if name != ALL:
            registry.trust(name)
            registry.resolve("fusions", name)
    return names


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    methods: Annotated[
        tuple[str, ...],
        Flag(
            "--method",
            "A fusion method (see mmcli list fusions), FILE.py:CLASS for one of your own, or all. Repeat. Default: gated.",
            short="-m",
            metavar="NAME",
            complete="fusions",
            parse=_methods,
        ),
    ] = ()
    head: Head = None
    epochs: Epochs = None
    batch_size: BatchSize = None
    learning_rate: LearningRate = None
    time_budget: TimeBudget = None
    inputs: Annotated[
        tuple[str, ...], Flag("--input", "An input to fuse. Repeat. Default: all.", short="-i", metavar="NAME")
    ] = ()
    encoders: Annotated[
        Mapping[str, Sequence[str]],
        Flag(
            "--encoder",
            "An encoder to take for an input. Repeat. Default: all that are trained.",
            metavar="NAME=ARCH",
            many=True,
            parse=encoders_by_input,
        ),
    ] = field(default_factory=dict)
    """Input -> architectures."""
    best_only: Annotated[
        bool, Flag("--best-only", "Only the best encoder of each input: smaller and faster, seldom as good.")
    ] = False
    """The best on val."""
    train_encoders: Annotated[bool, Flag("--train-encoders", "Train through the encoders too: slower, sometimes better.")] = (
        False
    )
    modality_dropout: Annotated[
        float | None,
        Flag(
            "--modality-dropout",
            "How often each input of a training row is taken away, to learn to do without. Default: 0.",
            min=0.0,
            max=0.9,
            metavar="SHARE",
        ),
    ] = None
    """None: as configured."""
    align: Annotated[
        float | None,
        Flag("--align", "With --train-encoders: weight of a loss that brings a row's columns together. Default: 0.", min=0.0),
    ] = None
    seeds: Annotated[
        int | None,
        Flag("--seeds", "Fusions trained from as many seeds, their outputs averaged. Default: 3.", min=1, max=50),
    ] = None
    """None: SEEDS, and 1 through the encoders."""
    order: Annotated[
        tuple[str, ...],
        Flag("--order", "Inputs in the order in which sequential, film and conv take them. Repeat.", metavar="NAME"),
    ] = ()
    explain: Annotated[
        bool, Flag("--explain", "Show how much of each column enters, on average and by class, where gates tell.")
    ] = False
    workers: Annotated[
        int, Flag("--workers", "Processes that train methods side by side; 0: one a core. Same result.", min=0)
    ] = 0
    all: All = False
    board: Annotated[
        bool,
        Flag("--board/--no-board", "Whether to rank what was made, beside the baselines, on the leaderboard.", hidden=True),
    ] = True

    @classmethod
    def again(cls, said: Mapping[str, Any]) -> Self:
        """From what `dataclasses.asdict` and JSON made of them."""
        return cls(**{**said} | {key: tuple(said[key]) for key in ("methods", "inputs", "order")})

    def foresee(self, root: Path) -> None:
        """Holds the flags against what was preprocessed under a root, before torch is imported.

        Raises:
            ArtifactError: there is no preprocessed table.
            ConfigError: names of inputs that it lacks, and flags that exclude one another.
        """
        named = {"--input": self.inputs, "--encoder": self.encoders, "--order": self.order}
        errors = wrong_inputs(root, named)
        if self.train_encoders and (self.seeds or 1) > 1:
            errors.append(ConfigError("--seeds is for fusing on embeddings; with --train-encoders train each seed by itself"))
        if self.batch_size == 0:
            errors.append(ConfigError("--batch-size auto is for encoders", "Give a number of rows, or leave it out."))
        if errors:
            raise combine(errors)
