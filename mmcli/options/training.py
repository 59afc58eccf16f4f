"""What the user says of how long and how fast to train: the same flags wherever something is trained."""

from __future__ import annotations

import re
from typing import Annotated, Any

from mmcli.errors import ConfigError
from mmcli.options.flags import Flag

AUTO = "auto"
TRAINING = "Training"
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """Seconds, from `90s`, `10m`, `1h` or a plain number of seconds.

    Raises:
        ConfigError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or not float(match[1]):
        raise ConfigError(f"--time-budget {text!r} is not a time", "E.g. 90s, 10m, 1h.")
    return float(match[1]) * UNITS[match[2]]


def _epochs(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
    number = float(match[1]) if match else 0.0
    if match is None or not number or (not match[2] and not number.is_integer()) or (match[2] and number >= 100):
        raise ConfigError(f"--epochs {text}: expected a number of epochs, or a share of the usual ones", "E.g. 30, or 50%.")
    return number / 100 if match[2] else number


def _batch_size(text: str) -> int:
    if text == AUTO:
        return 0
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--batch-size {text}: expected a number of rows, or auto", "E.g. --batch-size 128")
    return int(text)


def _learning_rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 100:
        raise ConfigError(f"--learning-rate {text}: expected a number above 0", "E.g. 0.001, or 3e-4.")
    return rate


Epochs = Annotated[
    float | None,
    Flag(
        "--epochs",
        "Passes over the training rows, at most: a number, or a share of the usual ones, e.g. 50%. Default: each part's own.",
        metavar="N|SHARE",
        panel=TRAINING,
        parse=_epochs,
        show_default=False,
    ),
]
"""None: the part's own; below 1: that share of them."""
BatchSize = Annotated[
    int | None,
    Flag(
        "--batch-size",
        "Rows in one step: a number, or auto: the most that fit into memory. Default: each part's own.",
        metavar="N|auto",
        panel=TRAINING,
        parse=_batch_size,
        show_default=False,
    ),
]
"""0 for the most that fit, None for the part's own default."""
LearningRate = Annotated[
    float | None,
    Flag(
        "--learning-rate",
        "Peak of the learning rate. Default: each part's own.",
        metavar="RATE",
        panel=TRAINING,
        parse=_learning_rate,
        show_default=False,
    ),
]
TimeBudget = Annotated[
    float | None,
    Flag(
        "--time-budget",
        "How long training may take in all: 90s, 10m, 1h; what has no time left for all its epochs takes fewer. Default: no "
        "limit.",
        metavar="TIME",
        panel=TRAINING,
        parse=seconds,
        show_default=False,
    ),
]
"""Seconds."""


def asked(config: dict[str, Any], epochs: float | None, batch_size: int | None, learning_rate: float | None) -> dict[str, Any]:
    """What the flags change of how something trains by itself: of `config`, its options by name."""
    found: dict[str, Any] = {}
    if epochs is not None:
        found["epochs"] = int(epochs) if epochs >= 1 else max(round(epochs * config["epochs"]), 1)
    if batch_size:
        found["batch_size"] = batch_size
    if learning_rate is not None:
        found["learning_rate"] = learning_rate
    return found
