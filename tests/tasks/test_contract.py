"""What every task must do, whatever it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcli import registry
from mmcli.models.recipe import build_answer
from mmcli.signals import Fused

NAMES = list(registry.parts("tasks"))
CELLS: dict[str, list[tuple[str | None, ...]]] = {
    "classification": [("a",), ("b",), ("c",)] * 8,
    "regression": [(str(number), f"{number * number % 7}%") for number in range(24)],
    "multilabel": [("a|b",), ("b|c",), (None,), ("c",)] * 6,
}
OPTIONS = {"multilabel": {"separator": "|"}}


def fitted(name: str) -> Any:
    kind = registry.load("tasks", name)
    names = ["y", "z"][: len(CELLS[name][0])]
    return kind.fit(registry.config_of(kind)(**OPTIONS.get(name, {})), CELLS[name], names)


@pytest.mark.parametrize("name", NAMES)
def test_head_loss_and_metrics(name: str) -> None:
    task = fitted(name)
    targets = task.encode(CELLS[name])
    torch.manual_seed(0)
    outputs = build_answer({"name": task.heads[0], "config": {}}, task, 7)(Fused(torch.randn(len(targets), 7)))
    assert outputs.shape == (len(targets), task.num_outputs)
    loss = task.loss(outputs, targets)
    loss.backward()
    scores = task.score(outputs.detach(), targets)
    assert set(scores) == {"loss", *task.metrics}
    assert task.primary_metric in task.metrics
    intervals = task.intervals(outputs.detach(), targets)
    for metric, interval in intervals.items():
        assert interval.value == pytest.approx(scores[metric])
        assert interval.low <= interval.high
    assert task.gain(outputs.detach(), outputs.detach(), targets).value == 0


@pytest.mark.parametrize("name", NAMES)
def test_state_is_json(name: str) -> None:
    task = fitted(name)
    again = type(task).from_state(json.loads(json.dumps(task.state())))
    assert torch.equal(again.encode(CELLS[name]), task.encode(CELLS[name]))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_and_draws_what_it_found(name: str, tmp_path: Path) -> None:
    task = fitted(name)
    targets = task.encode(CELLS[name])
    captions = task.draw(torch.randn(len(targets), task.num_outputs), targets, tmp_path)
    assert captions
    for file, caption in captions.items():
        assert (tmp_path / file).read_bytes().startswith(b"\x89PNG")
        assert caption.endswith(".")
    assert any(part in task.summary() for part in ("3 classes", "2 numbers", "3 labels"))


@pytest.mark.parametrize("name", NAMES)
def test_predictions_have_a_value_to_a_row(name: str) -> None:
    task = fitted(name)
    columns = task.decode(torch.randn(5, task.num_outputs))
    assert columns
    assert all(len(values) == 5 for values in columns.values())
