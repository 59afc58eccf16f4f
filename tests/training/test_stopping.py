"""Training ends early where nothing is learnt, and only there."""

from __future__ import annotations

import math

import torch

from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig
from mmcli.training.config import TrainingConfig
from mmcli.training.stopping import nothing_learnt

TASK = Classification.fit(TaskConfig(), [("a",)] * 3 + [("b",)], ["y"])
TARGETS = torch.tensor([0, 0, 0, 1] * 100)
SPLITS = {"train": torch.arange(300), "val": torch.arange(300, 400)}
CONFIG = TrainingConfig(patience=20, batch_size=30)  # ten steps an epoch: it may be told after fifteen
LOSS = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)


def epochs(count: int, loss: float, accuracy: float) -> list[dict[str, float]]:
    return [{"val_loss": loss, "val_accuracy": accuracy}] * count


def test_no_better_than_the_constant_for_long_is_the_end() -> None:
    told = nothing_learnt(TASK, TARGETS, SPLITS, CONFIG)
    assert told(epochs(15, LOSS * 1.001, 0.75))
    assert not told(epochs(14, LOSS * 1.001, 0.75))


def test_a_lower_loss_or_a_metric_beyond_noise_is_something() -> None:
    told = nothing_learnt(TASK, TARGETS, SPLITS, CONFIG)
    assert not told([*epochs(20, LOSS * 1.1, 0.75), *epochs(1, LOSS * 0.99, 0.75)])
    assert told(epochs(20, LOSS * 1.1, 0.79))  # of 100 rows, within .05
    assert not told(epochs(20, LOSS * 1.1, 0.81))


def test_few_steps_an_epoch_tell_later_and_the_last_epoch_is_never_cut() -> None:
    few = CONFIG.model_copy(update={"batch_size": 300})
    assert not nothing_learnt(TASK, TARGETS, SPLITS, few)(epochs(149, 9.0, 0.0))
    assert nothing_learnt(TASK, TARGETS, SPLITS, few)(epochs(150, 9.0, 0.0))
    last = CONFIG.model_copy(update={"keep": "last"})
    assert not nothing_learnt(TASK, TARGETS, SPLITS, last)(epochs(200, 9.0, 0.0))
