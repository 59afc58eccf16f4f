"""What `run` is told: what its stages are, but for what only makes sense stage by stage; and what its presets make of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, TypeVar, cast, get_args

from mmcli.errors import ConfigError
from mmcli.options import evaluate, fuse, optimize, preprocess, train_encoder
from mmcli.options.flags import Flag, one_of
from mmcli.options.training import TRAINING, seconds

T = TypeVar("T")
Preset = Literal["fast", "balanced", "best"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
SHARES: dict[type, float] = {train_encoder.Options: 0.5, fuse.Options: 0.15, optimize.Options: 0.2}
"""Of the whole time what each stage may take; the rest is for reading the table and for the proof."""


def _preset(text: str) -> Preset:
    return cast("Preset", one_of("--preset", "preset", text, PRESETS, CALLED_ELSEWHERE))


CALLED_ELSEWHERE = {
    **dict.fromkeys(("medium_quality", "medium", "quick", "low"), "fast"),
    **dict.fromkeys(("good_quality", "good", "default", "normal"), "balanced"),
    **dict.fromkeys(("best_quality", "high_quality", "high", "accuracy"), "best"),
}
"""What other tools call presets."""


AUTO_FOLDS, FEW_ROWS = 5, 3000
"""How many folds the preset best has, on fewer labelled rows of train and val than these."""
MOST_FOLDS = 20


def _folds(text: str) -> int | None:
    if text in {"auto", "none"}:
        return None if text == "auto" else 1
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= MOST_FOLDS:
        raise ConfigError(f"--folds {text!r} is no number of folds", f"Give 2 to {MOST_FOLDS}, auto, or none.")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is its own."""

    preset: Annotated[
        Preset,
        Flag(
            "--preset",
            "fast: fewer epochs, one seed; balanced: calibrated, trained through where that pays, and as an ONNX graph; best: "
            "every fusion method, and all that optimize can do.",
            metavar="NAME",
            panel=TRAINING,
            parse=_preset,
            complete=PRESETS,
        ),
    ] = "balanced"
    whole: Annotated[
        float | None,
        Flag(
            "--time-budget",
            "About how long training may take, by shares for each stage: 90s, 10m, 1h. What has no time left is trained for "
            "fewer epochs, or left out, and said. Reading the table, the baselines and the proof come on top. Default: what "
            "the preset takes.",
            metavar="TIME",
            panel=TRAINING,
            parse=seconds,
            show_default=False,
        ),
    ] = None
    """Seconds."""
    folds: Annotated[
        int | None,
        Flag(
            "--folds",
            "Let val rotate: so many whole pipelines, each with another part of train and val as its val, and their average as "
            "the model; 1 or none: a single pipeline. auto: 5 with --preset best on fewer than 3,000 rows of train and val.",
            metavar="K|auto|none",
            panel=TRAINING,
            parse=_folds,
            shown="auto",
        ),
    ] = None
    """None: as the preset and the table have it."""
    keep_val: Annotated[
        bool,
        Flag(
            "--keep-val", "With --folds: rows that are val are never trained on; parts of train rotate alone.", panel=TRAINING
        ),
    ] = False
    refit: Annotated[
        bool,
        Flag(
            "--refit",
            "With --folds: one more pipeline, trained on all rows of train and val for as many epochs as the folds on average: "
            "artifacts/refit, which costs what one does. No row is left to judge it by but those of test.",
            panel=TRAINING,
        ),
    ] = False
    no_optimize: Annotated[bool, Flag("--no-optimize", "Leave the stage optimize out.", panel="Models")] = False

    def check(self, choices: optimize.Options) -> None:
        """Looks at what is asked of a stage that the preset leaves out.

        Raises:
            ConfigError: nothing would look at it.
        """
        if choices.trials is not None and (self.preset != "best" or self.no_optimize):
            raise ConfigError(
                f"--trials {choices.trials}: only the preset best searches for better fusions",
                "Add --preset best, or run mmcli optimize --trials afterwards.",
            )
        if choices.trials is not None and (self.folds or 1) > 1:
            raise ConfigError(
                f"--trials {choices.trials}: fusions are not searched for an average of folds",
                "Add --folds none, or leave --trials out.",
            )
        for flag, asked in (("--keep-val", self.keep_val), ("--refit", self.refit)):
            if asked and (self.folds == 1 or (self.folds is None and self.preset != "best")):
                raise ConfigError(f"{flag} is for folds, of which there are none", "Add --folds 5, or leave it out.")


STAGES: tuple[type, ...] = (
    preprocess.Options,
    train_encoder.Options,
    fuse.Options,
    Options,
    optimize.Options,
    evaluate.Options,
)
LEFT_OUT: dict[type, tuple[str, ...]] = {
    train_encoder.Options: ("columns", "tokens", "time_budget", "profile", "folds", "chosen", "tune_models", "tune_each"),
    fuse.Options: ("inputs", "encoders", "time_budget", "align", "order", "explain", "workers", "board"),
    optimize.Options: ("method", "max_drop", "pick", "ensemble", "coverage", "time_budget", "join", "skip", "only", "more"),
    evaluate.Options: ("new", "slices", "quick", "compare", "media_root", "allow_missing", "fetch_timeout"),
}
"""Class -> its options that `run` does not take."""
MEANS: dict[Preset, dict[type, dict[str, Any]]] = {
    "fast": {
        train_encoder.Options: {"epochs": 0.3},
        fuse.Options: {"epochs": 0.5, "seeds": 1},
        optimize.Options: {"only": ("calibrate",)},
    },
    "balanced": {optimize.Options: {"only": ("finetune", "calibrate", "onnx")}},
    "best": {train_encoder.Options: {"tune_models": "last-2"}, fuse.Options: {"methods": (fuse.ALL,)}},
}
"""Preset -> what it says of each stage. A search for better fusions is in `best` alone: how far it comes depends on the
machine, and the other presets give the same model everywhere."""
SETTINGS: dict[Preset, dict[str, Any]] = {
    "balanced": {"optimization.onnx.int8": False},
    "best": {"encoder.cnn.stem": 2, "encoder.cnn-rnn.stem": 2},
}
"""Preset -> the options of parts that it changes. Pictures looked at every fourth pixel take a third of the time, and cost some
accuracy: docs/encoders.md has both."""


def of_stage(own: T, options: Options, share: float = 1.0) -> T:
    """What a stage is told: what was typed for it, and what the preset and the whole time say where nothing was; of that time
    it has this share."""
    means: Mapping[str, Any] = MEANS[options.preset].get(type(own), {})
    untouched = {field.name for field in fields(cast("Any", own)) if getattr(own, field.name) == _default(field)}
    told = {key: value for key, value in means.items() if key in untouched}
    if options.whole is not None and type(own) in SHARES:
        told["time_budget"] = options.whole * SHARES[type(own)] * share
    changed: T = replace(cast("Any", own), **told)
    return changed


def with_late(fusion: fuse.Options, folds: int) -> fuse.Options:
    """With folds and no method named, `late` beside the default: out-of-fold scores tell which of the two is better, which val
    alone does not. Where a head is named it is not for `late`, which has none."""
    plain = not fusion.methods and fusion.head is None
    return replace(fusion, methods=(fuse.DEFAULT, "late")) if folds > 1 and plain else fusion


def _default(field: Any) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default
