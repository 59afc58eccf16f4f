"""Prediction sets hold the truth as often as asked, on rows that come as those of val did."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmcli.models import conformal
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as ClassConfig
from mmcli.tasks.multilabel import Config as LabelConfig
from mmcli.tasks.multilabel import Multilabel
from mmcli.tasks.regression import Config as NumberConfig
from mmcli.tasks.regression import Regression


def test_classes() -> None:
    task = Classification.fit(ClassConfig(), [("a",), ("b",), ("c",)], ["y"])
    generator = torch.Generator().manual_seed(0)
    outputs = 1.5 * torch.randn(4000, 3, generator=generator)
    targets = torch.multinomial(outputs.softmax(1), 1, generator=generator)[:, 0]
    for asked in (0.8, 0.95):
        found = conformal.fit(task, outputs[:2000], targets[:2000], asked)
        told = conformal.check(task, found, outputs[2000:], targets[2000:])
        assert abs(told["coverage"] - asked) < 0.03
    assert 1 <= told["size"] < 3
    sets = conformal.sets(task, found, outputs)
    assert sets[range(4000), outputs.argmax(1)].all()  # the most probable class is in, however improbable
    written = conformal.columns(task, found, outputs[:1])["_set"][0].split("|")
    assert written == [name for name, here in zip("abc", sets[0], strict=True) if here]


def test_the_threshold_by_hand() -> None:
    """Of scores 0.1 to 0.9 the eighth is the ceil(10 x 0.8)th smallest."""
    task = Classification.fit(ClassConfig(), [("a",), ("b",)], ["y"])
    shares = torch.arange(1, 10) / 10
    outputs = torch.stack([(1 - shares).log(), shares.log()], 1)
    found = conformal.fit(task, outputs, torch.zeros(9, dtype=torch.int64), 0.8)
    assert abs(found["thresholds"][0] - 0.8) < 1e-6
    assert conformal.fit(task, outputs, torch.zeros(9, dtype=torch.int64), 0.95) == {}  # too few rows to say


def test_numbers_in_the_users_units() -> None:
    task = Regression.fit(NumberConfig(), [("0",), ("100",), ("200",)], ["y"])
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(3000, 1, generator=generator)
    outputs = targets + 0.1 * torch.randn(3000, 1, generator=generator)
    found = conformal.fit(task, outputs[:1500], targets[:1500], 0.9)
    told = conformal.check(task, found, outputs[1500:], targets[1500:])
    assert abs(told["coverage"] - 0.9) < 0.03
    expected = 2 * 1.645 * 0.1 * float(task.std[0])
    assert abs(told["size"] - expected) < 0.1 * expected
    columns = conformal.columns(task, found, outputs[:5])
    middle = task.decode(outputs[:5])[""]
    for low, high, value in zip(columns["_low"], columns["_high"], middle, strict=True):
        assert abs((low + high) / 2 - value) < 1e-3 * max(abs(value), 1)


def test_labels() -> None:
    task = Multilabel.fit(LabelConfig(separator="|", min_count=1), [("a|b",), ("b",), ("a",)], ["y"])
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3000, 2, generator=generator)
    targets = (torch.rand(3000, 2, generator=generator) < logits.sigmoid()).float()
    outputs = torch.cat([logits, torch.zeros(3000, 2)], 1)
    found = conformal.fit(task, outputs[:1500], targets[:1500], 0.9)
    assert abs(conformal.check(task, found, outputs[1500:], targets[1500:])["coverage"] - 0.9) < 0.03


def test_on_a_log_scale_intervals_widen_with_the_number() -> None:
    task = Regression.fit(NumberConfig(scale="log"), [("0",), ("9",), ("99",), ("9999",)], ["y"])
    right = task.encode([(str(10**power - 1),) for power in (0, 1, 2, 3)] * 10)
    outputs = right.double() - np.log(2) / task.std[0]  # each half of what it should be, counted from -1
    found = conformal.fit(task, outputs, right, 0.9)
    assert found["scale"] == "log"
    assert found["thresholds"] == pytest.approx([np.log(2)], rel=1e-4)
    named = conformal.columns(task, found, right[:4].double())
    assert named["_high"] == pytest.approx([1, 19, 199, 1999], rel=1e-3)
    assert named["_low"] == pytest.approx([-1, 4, 49, 499], rel=1e-3)
    checked = conformal.check(task, found, right.double(), right)
    assert checked == {"coverage": 1.0, "size": pytest.approx(np.mean([2, 15, 150, 1500]), rel=1e-3)}
    older = {name: own for name, own in found.items() if name != "scale"}  # made before: in the units of the table
    assert conformal.columns(task, older, right[2:3].double())["_high"] == pytest.approx([99 + np.log(2)], rel=1e-4)
