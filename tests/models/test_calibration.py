"""Calibrating layers: fitted to what they were told, exact by hand, and no harm to what is calibrated already."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmcli.models import calibration
from mmcli.models.calibration import Isotonic, Vector
from mmcli.models.networks import AveragedHeads
from mmcli.tasks.classification import Classification, Config
from mmcli.tasks.multilabel import Config as LabelConfig
from mmcli.tasks.multilabel import Multilabel


def rows(count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = 1.5 * torch.randn(count, 3, generator=generator)
    return outputs, torch.multinomial(outputs.softmax(1), 1, generator=generator)[:, 0]


def test_a_vector_undoes_scales_and_shifts() -> None:
    outputs, targets = rows()
    scale, shift = torch.tensor([3.0, 0.5, 1.0]), torch.tensor([1.0, -1.0, 0.0])
    spoilt = outputs * scale + shift
    mended = Vector.fitted(spoilt, targets)(spoilt)
    best = F.cross_entropy(outputs, targets)
    assert F.cross_entropy(spoilt, targets) > best + 0.1
    assert F.cross_entropy(mended, targets) < best + 0.02


def test_isotonic_curves_undo_what_no_temperature_can() -> None:
    outputs, targets = rows()
    spoilt = outputs.softmax(1).pow(0.2).log()  # too unsure
    spoilt = torch.where(spoilt.softmax(1) > 0.4, spoilt * 9, spoilt)  # and too sure where it is a little surer
    mended = Isotonic.fitted(spoilt, targets)(spoilt)
    torch.testing.assert_close(mended.exp().sum(1), torch.ones(len(mended)))
    assert F.cross_entropy(mended, targets) < F.cross_entropy(spoilt, targets) - 0.05


def test_an_isotonic_curve_by_hand() -> None:
    """One step from (0.2, 0.1) to (0.6, 0.9): 0.4 becomes 0.5, beyond the ends it is flat."""
    layer = Isotonic(2, 1)
    for tensor, value in ((layer.starts, 0.2), (layer.widths, 0.4), (layer.slopes, 2.0)):
        tensor.fill_(value)
    layer.floors.fill_(0.1)
    shares = torch.tensor([[0.4, 0.6], [0.1, 0.9]])
    risen = torch.tensor([[0.5, 0.9], [0.1, 0.9]])
    torch.testing.assert_close(layer(shares.log()).exp(), risen / risen.sum(1, keepdim=True))


def test_built_again_from_what_is_said_of_it() -> None:
    outputs, targets = rows(500)
    for kind, part in calibration.KINDS.items():
        layer = part.fitted(outputs, targets)
        again = calibration.build(*calibration.described(layer))
        again.load_state_dict(layer.state_dict())
        assert calibration.described(layer)[0] == kind
        torch.testing.assert_close(again(outputs), layer(outputs))
    assert torch.equal(calibration.build("", ())(outputs), outputs)


def test_the_temperature_of_outputs_that_are_three_times_too_sure_is_three() -> None:
    outputs, targets = rows()
    task = Classification.fit(Config(), [("a",), ("b",), ("c",)], ["y"])
    assert abs(calibration.temperature(3 * outputs, targets, task) - 3) < 0.15
    assert abs(calibration.temperature(outputs, targets, task) - 1) < 0.06


def test_where_all_rows_are_right_none_becomes_certain() -> None:
    task = Classification.fit(Config(), [("a",), ("b",)], ["y"])
    outputs, targets = torch.tensor([[9.0, 0.0], [0.0, 9.0]] * 10), torch.tensor([0, 1] * 10)
    scaled = outputs / calibration.temperature(outputs, targets, task)
    assert 0.97 < scaled.softmax(1).max() < 0.98  # one row in 22, halved, is of the other class: 0.977


def of_labels(counts: int, **options: Any) -> tuple[Multilabel, torch.Tensor, torch.Tensor]:
    """A task of two labels, and logits of 20 rows that are all right, beside thresholds."""
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 10)
    task = Multilabel(LabelConfig(separator="|", **options), ["a", "b"], [counts, counts], [], rows=20)
    return task, torch.cat([18 * right - 9, torch.zeros(20, 2)], 1), right


@pytest.mark.parametrize("options", [{}, {"class_weights": "balanced"}], ids=["alike", "balanced"])
def test_where_all_labels_are_right_none_becomes_certain(options: dict[str, Any]) -> None:
    task, outputs, targets = of_labels(10, **options)
    found = calibration.temperature(outputs, targets, task)
    assert found == pytest.approx(9 / math.log(43), rel=0.02)  # one row in 22, halved, is otherwise: odds of 43 to 1
    assert 0.97 < (outputs / found)[:, :2].sigmoid().max() < 0.98
    weighed = task.weigh(targets, torch.tensor([1.0, 3.0] * 10))
    assert calibration.temperature(outputs, weighed, task) == found  # rows that are alike, whatever they weigh


def test_the_softened_loss_of_labels_by_hand() -> None:
    task, outputs, targets = of_labels(5, class_weights="balanced")
    own = math.log1p(math.exp(-9)), math.log1p(math.exp(-9)) + 9
    soft = (1 - 1 / 44) * own[0] + 1 / 44 * own[1]
    having, lacking = 20 / 2 / 5, 20 / 2 / 15  # how much a label counts
    assert float(calibration.log_loss(outputs, targets, task)) == pytest.approx(soft * (having + lacking) / 2, rel=1e-6)


def test_what_is_right_already_keeps_its_temperature() -> None:
    for task, outputs, targets in (of_labels(10), (Classification.fit(Config(), [("a",), ("b",)], ["y"]), *two_classes())):
        once = calibration.temperature(outputs, targets, task)
        assert calibration.temperature(outputs / once, targets, task, once) == pytest.approx(1, abs=0.03)


def two_classes() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[9.0, 0.0], [0.0, 9.0]] * 10), torch.tensor([0, 1] * 10)


def test_bounds_are_those_of_the_temperature_in_the_end() -> None:
    """Outputs that nothing makes sure enough: as far as the bound, of which 0.1 was gone before."""
    task, outputs, targets = of_labels(10)
    faint = outputs / 1e4
    assert calibration.temperature(faint, targets, task) == pytest.approx(0.05)
    assert calibration.temperature(faint, targets, task, 0.1) == pytest.approx(0.5)
    assert calibration.temperature(faint, targets, task, 0.05) == 1.0
    assert calibration.temperature(faint, targets, task, 0.01) == pytest.approx(5)  # below it already
    wrong = 1 - targets
    assert calibration.temperature(1e3 * outputs, wrong, task, 10.0) == pytest.approx(2)


def test_members_of_a_mean_count_for_the_bounds_as_they_do_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is as faint as may be and counts nothing keeps nobody from being cooled."""
    heads: Any = AveragedHeads.__new__(AveragedHeads)
    torch.nn.Module.__init__(heads)
    members = [SimpleNamespace(temperature=torch.tensor(own)) for own in (20.0, 0.9)]
    monkeypatch.setattr(AveragedHeads, "each", members)
    heads.shares, heads.temperature = torch.tensor([0.0, 1.0]), torch.tensor(2.0)
    assert heads.made_at == pytest.approx(1.8)
    heads.shares = torch.tensor([0.5, 0.5])
    assert heads.made_at == pytest.approx(2 * (20 * 0.9) ** 0.5)
