"""A bag of n-grams joined to the linear model of the same features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmcli.encoders.bag import Bag, Config
from mmcli.heads.linear import Config as HeadConfig
from mmcli.heads.linear import Linear
from mmcli.jobs import solving
from mmcli.modalities.text import Config as TextConfig
from mmcli.modalities.text import Text
from mmcli.models.columns import ColumnModel
from mmcli.tasks import Task
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as ClassConfig
from mmcli.tasks.match import Config as MatchConfig
from mmcli.tasks.match import Match
from mmcli.tasks.multilabel import Config as LabelConfig
from mmcli.tasks.multilabel import Multilabel
from mmcli.tasks.regression import Config as NumberConfig
from mmcli.tasks.regression import Regression
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows
from mmcli.training.device import choose
from mmcli.training.job import Job
from mmcli.vectors import solved

WORDS = ["good", "fine", "bad", "sad", "红", "绿", "the", "a", "of", "it"]
CLASSES = ["even", "odd", "other"]


def table(rows: int = 120) -> tuple[list[str | None], list[list[str]]]:
    draw = np.random.default_rng(1)
    words = [[WORDS[place] for place in draw.integers(0, len(WORDS), 5)] for _ in range(rows)]
    return [" ".join(own) if row % 20 else None for row, own in enumerate(words)], words


def tasks() -> dict[str, tuple[Task, Tensor]]:
    _, words = table()
    classes = [(CLASSES[0 if "good" in own else 1 if "bad" in own else 2],) for own in words]
    labels = [("|".join(name for name in ("good", "bad", "红") if name in own),) for own in words]
    numbers = [(str(own.count("good") - own.count("sad")),) for own in words]
    found: dict[str, Task] = {
        "classes": Classification.fit(ClassConfig(), classes, ["y"]),
        "labels": Multilabel.fit(LabelConfig(separator="|"), labels, ["y"]),
        "numbers": Regression.fit(NumberConfig(), numbers, ["y"]),
    }
    cells: dict[str, Any] = {"classes": classes, "labels": labels, "numbers": numbers}
    return {name: (task, task.encode(cells[name])) for name, task in found.items()}


def made(task: Task, targets: Tensor, folder: Path, dim: int = 8) -> tuple[ColumnModel, Job]:
    texts, _ = table()
    modality = Text.fit(TextConfig(), [text for text in texts if text])
    torch.manual_seed(0)
    bag = Bag(Config(buckets=1 << 14, dim=dim), modality.describe())
    prepared = bag.prepare(modality.transform(texts).column)
    splits = {"train": torch.arange(80), "val": torch.arange(80, 120), "test": torch.arange(0)}
    bag.fit(prepared.select(splits["train"]))
    torch.nn.init.normal_(bag.absent)
    network = ColumnModel(bag, Linear(HeadConfig(), task, dim))
    rows = Rows({"text": prepared}, targets, splits, {})
    config = TrainingConfig()
    step: Any = type("Step", (), {"module": network})()
    return network, Job(step, rows, task, config, choose("cpu"), 0, folder, "text")


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_it_says_the_best_sum_of_both(kind: str, tmp_path: Path) -> None:
    task, targets = tasks()[kind]
    network, job = made(task, targets, tmp_path)
    network.eval()
    column, layer = job.rows.inputs["text"], network.head.affine()
    assert layer is not None
    signal = column.gather(torch.arange(120))
    before = layer(network.encoder(signal).pooled).detach()
    found = solving.join(network, job)
    assert found is not None
    after = layer(network.encoder(signal).pooled).detach()
    features = network.encoder.sparse(column)
    features = features[:, solved.frequent(features[:80], task.decision.width)]
    paths = solved.path(features[:80], targets.numpy()[:80], task.decision.link, task.decision.width)
    weights, bias = next((own, free) for strength, own, free in paths if strength == found.strength)
    said = torch.from_numpy(features @ weights + bias)
    here = signal.present
    torch.testing.assert_close(after[here], (found.solved * said + found.trained * before)[here], atol=2e-3, rtol=2e-3)
    # an absent cell says what it said, beside the bias of the linear model
    absent = found.solved * torch.from_numpy(bias) + found.trained * before
    torch.testing.assert_close(after[~here], absent[~here], atol=2e-3, rtol=2e-3)

    def loss(own: Tensor) -> float:
        return task.score(task.decision_head()(own[80:]), targets[80:])["loss"]

    if kind != "labels":  # whose thresholds do not enter
        assert loss(after) <= min(loss(before), loss(said)) + 1e-3


def test_more_classes_than_features_keep_what_tells_them_best(tmp_path: Path) -> None:
    task, targets = tasks()["classes"]
    network, job = made(task, targets, tmp_path, dim=2)
    found = solving.join(network.eval(), job)
    assert found is not None
    column = job.rows.inputs["text"]
    outputs = network(column.gather(torch.arange(80, 120))).detach()
    assert task.score(outputs, targets[80:])["accuracy"] > 0.85


def test_what_is_no_linear_decision_stays_as_it_is(tmp_path: Path) -> None:
    task, targets = tasks()["classes"]
    network, job = made(task, targets, tmp_path)
    pairs = Match.fit(MatchConfig(), [("1",), ("0",)], ["y"])
    kept = network.encoder.table.detach().clone()
    assert solving.join(network, replace(job, task=pairs)) is None
    assert torch.equal(network.encoder.table, kept)


def test_balanced_classes_are_solved_balanced(tmp_path: Path) -> None:
    targets = [(CLASSES[0] if row % 6 else CLASSES[1],) for row in range(120)]
    scores = {}
    for how in ("none", "balanced"):
        task = Classification.fit(ClassConfig(class_weights=how), targets, ["y"])
        network, job = made(task, task.encode(targets), tmp_path)
        assert solving.join(network.eval(), job) is not None
        outputs = network(job.rows.inputs["text"].gather(torch.arange(80, 120))).detach()
        scores[how] = outputs.softmax(1).mean(0)  # texts say nothing of these: what is left is how often classes are
    assert scores["none"][1] < 0.3
    assert 0.35 < scores["balanced"][1] < 0.65


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_what_is_told_is_not_chosen_by_val(kind: str, tmp_path: Path) -> None:
    task, targets = tasks()[kind]
    outputs = []
    for told in (solving.Joined(3.0, 0.75, 0.5), solving.Joined(3.0, 0.75, 0.5), None):
        network, job = made(task, targets, tmp_path)
        if len(outputs) == 1:  # other val rows, the same answers
            job = replace(job, rows=replace(job.rows, splits={**job.rows.splits, "val": torch.arange(100, 110)}))
        joined = solving.join(network, job, told)
        assert (joined == told) is (told is not None)
        outputs.append(network.encoder.table.detach().clone())
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])
