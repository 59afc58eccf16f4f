"""Calibrating layers: fitted to what they were told, exact by hand, and no harm to what is calibrated already."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmcli.models import calibration
from mmcli.models.calibration import Isotonic, Vector
from mmcli.tasks.classification import Classification, Config


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
