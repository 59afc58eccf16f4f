"""What `train-encoder` is told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from mmcli import registry
from mmcli.errors import ConfigError, combine
from mmcli.options.columns import Head, encoders_by_input
from mmcli.options.flags import Flag, one_of
from mmcli.options.made import wrong_inputs
from mmcli.options.training import AUTO, UNITS, BatchSize, Epochs, LearningRate, TimeBudget

PRETRAINED, LITTLE, SPEED = "Pretrained networks", "Little data", "Memory and speed"
AUGMENTING = ("none", "light", "strong")
UNLABELLED = ("ignore", "use")


@dataclass(frozen=True)
class Budget:
    """How long each input's entrants may train before they are compared; without either, a fifth of their epochs."""

    seconds: float | None = None
    """All entrants of an input together."""
    epochs: int | None = None
    """Each entrant."""

    @classmethod
    def parse(cls, text: str) -> Budget:
        """`30s`, `2m`, or `5` epochs.

        Raises:
            ConfigError: it is none of these.
        """
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", text.strip())
        if not match or not float(match[1]) or (not match[2] and "." in match[1]):
            raise ConfigError(
                f"--budget {text!r} is neither a time nor a number of epochs", "E.g. 60s, 2m, or 5 for five epochs."
            )
        if not match[2]:
            return cls(epochs=int(match[1]))
        return cls(seconds=float(match[1]) * UNITS[match[2]])


def _architectures(names: list[str]) -> list[str]:
    for name in names:
        if name != AUTO:
            registry.trust(name)
            registry.resolve("encoders", name)
    return names


def _tune(text: str) -> str:
    from mmcli.config import validate
    from mmcli.pretrained.config import BackboneConfig

    try:
        validate(BackboneConfig, {"tune": text}, "--tune")
    except ConfigError:
        known = "full, head, lora, last-1, last-2 and so on"
        raise ConfigError(f"--tune {text}: known are {known}", "E.g. --tune last-2: its last two blocks train.") from None
    return text


def _tune_each(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, how = text.rpartition("=")
        if not equals:
            raise ConfigError(f"--tune-each {text!r} is not of the form ENCODER=HOW", "E.g. encoders/note/NAME=last-2")
        found[name] = _tune(how)
    return found


def _augment(text: str) -> str:
    return one_of("--augment", "value", text, AUGMENTING)


def _unlabelled(text: str) -> bool:
    return one_of("--unlabelled", "value", text, UNLABELLED) == "use"


def _folds(count: int) -> int:
    if count == 1:
        raise ConfigError("--folds 1 leaves nothing to train on", "Use 2 or more, e.g. --folds 5, or leave it out.")
    return count


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    columns: Annotated[
        tuple[str, ...],
        Flag("", "Columns to train encoders for. Default: every input.", metavar="[COL]...", show_default=False),
    ] = ()
    architectures: Annotated[
        tuple[str, ...],
        Flag(
            "--arch",
            "An architecture (see mmcli list encoders), or auto: the sensible ones race, and models of the folder MMCLI_MODELS."
            " Repeat to compare.",
            metavar="NAME",
            complete="encoders",
            parse=_architectures,
        ),
    ] = (AUTO,)
    head: Head = None
    epochs: Epochs = None
    batch_size: BatchSize = None
    learning_rate: LearningRate = None
    time_budget: TimeBudget = None
    budget: Annotated[
        Budget,
        Flag(
            "--budget",
            "With --arch auto: how long the encoders of an input train before losers are stopped: 60s, 2m, or a number of "
            "epochs. Default: a fifth of theirs.",
            metavar="TIME|EPOCHS",
            parse=Budget.parse,
        ),
    ] = field(default_factory=Budget)
    weights: Annotated[
        str | None,
        Flag(
            "--weights",
            "Where networks of torchvision, timm and hf start: none (at random), default (the published weights, "
            "downloaded if need be), or a safetensors file or folder.",
            metavar="none|default|PATH",
            panel=PRETRAINED,
        ),
    ] = None
    tune: Annotated[
        str | None,
        Flag(
            "--tune",
            "What trains of a pretrained network: full, head (nothing of it, fast), last-2 (its last two blocks), lora.",
            metavar="HOW",
            panel=PRETRAINED,
            parse=_tune,
        ),
    ] = None
    tune_models: Annotated[
        str,
        Flag("--tune-models", "What trains of models of MMCLI_MODELS where --tune does not say.", parse=_tune, hidden=True),
    ] = "head"
    tune_each: Annotated[
        Mapping[str, str],
        Flag(
            "--tune-each",
            "What trains of one encoder that is a model of MMCLI_MODELS, in place of --tune-models. Repeat.",
            metavar="ENCODER=HOW",
            many=True,
            parse=_tune_each,
            hidden=True,
        ),
    ] = field(default_factory=dict)
    """Name of its artifact -> how."""
    augment: Annotated[
        str | None,
        Flag(
            "--augment",
            "Random changes to training inputs: none, light (default) or strong.",
            metavar="HOW",
            panel=LITTLE,
            parse=_augment,
            complete=AUGMENTING,
        ),
    ] = None
    unlabelled: Annotated[
        bool,
        Flag(
            "--unlabelled",
            "What rows without a target are for: ignore, or use, for a self-supervised warm start.",
            metavar="HOW",
            panel=LITTLE,
            parse=_unlabelled,
            complete=UNLABELLED,
            shown="ignore",
        ),
    ] = False
    folds: Annotated[
        int,
        Flag(
            "--folds",
            "Train each encoder on as many folds as well: predictions of train rows it has not seen, for --method stacking.",
            min=0,
            max=20,
            panel=LITTLE,
            parse=_folds,
        ),
    ] = 0
    tokens: Annotated[
        int | None,
        Flag("--tokens", "Most tokens kept of a row among the embeddings; 0: all. Default: 16, or what the task needs.", min=0),
    ] = None
    """Longer ones are averaged in runs."""
    chosen: Annotated[
        Mapping[str, Sequence[str]],
        Flag(
            "--encoder",
            "The architecture for one input, in place of those of --arch. Repeat.",
            metavar="NAME=ARCH",
            many=True,
            parse=encoders_by_input,
            hidden=True,
        ),
    ] = field(default_factory=dict)
    """Input -> architectures."""
    profile: Annotated[
        bool,
        Flag("--profile", "Write a trace of some steps of each encoder, and say where their time goes.", panel=SPEED),
    ] = False

    def check(self) -> None:
        """Finds, before torch is imported, weights that cannot be had, and a budget of a race that is not run.

        Raises:
            ConfigError: a network of a hub that is not here and cannot be fetched, no such file, no folder that `MMCLI_MODELS`
                names, or nothing that races.
        """
        if AUTO not in self.architectures:
            self.refuse_budget(f"--arch {' --arch '.join(self.architectures)}: what is named is trained whole, without a race")
        from mmcli.pretrained import hub, shelf

        if AUTO in self.architectures:
            shelf.root()
        for name in self.architectures:
            if name == AUTO:
                continue
            part, variant = registry.resolve("encoders", name).name, registry.variant_of("encoders", name)
            if part == "hf" and variant and hub.local(variant) is None:
                hub.fetch(variant)
            if part == "timm" and variant and self.weights == "default" and not ("/" in variant and hub.local(variant)):
                hub.expect_timm(variant)
        if self.weights not in {None, "none", "default"}:
            hub.local(f"{self.weights}" if "/" in str(self.weights) else f"./{self.weights}")

    @classmethod
    def again(cls, said: Mapping[str, Any]) -> Self:
        """From what `dataclasses.asdict` and JSON made of them."""
        own = {**said, "budget": Budget(**said["budget"])}
        return cls(**own | {key: tuple(said[key]) for key in ("columns", "architectures")})

    def foresee(self, root: Path) -> None:
        """Holds the flags against what was preprocessed under a root, before torch is imported.

        Raises:
            ArtifactError: there is no preprocessed table.
            ConfigError: names of inputs that it lacks, or of architectures that there are not.
        """
        errors = wrong_inputs(root, {"": self.columns})
        for architecture in self.architectures:
            if architecture != AUTO:
                try:
                    registry.trust(architecture)
                    registry.resolve("encoders", architecture)
                except ConfigError as error:
                    errors.append(ConfigError(f"--arch {architecture}: {error.message}", error.remedy))
        if errors:
            raise combine(errors)

    def refuse_budget(self, why: str) -> None:
        """Raises ConfigError if there is a budget for a race, of which there is none."""
        if self.budget != Budget():
            told = f"{self.budget.epochs}" if self.budget.epochs else f"{self.budget.seconds:g}s"
            limit = f"--epochs {told}" if self.budget.epochs else f"--time-budget {told}"
            raise ConfigError(
                f"--budget {told} is for the race of --arch auto, and there is none ({why})",
                f"Leave --arch out to let encoders race, or limit the training itself: {limit}.",
            )
