"""Layers over a form, by hand-computed values: how numbers are encoded, and the linear layer over numbers and categories."""

import torch

from mmcli.layers.forms import FieldLinear, NumberEncoding
from mmcli.signals import Column, Field

NAN = float("nan")
FIELDS = (Field("age"), Field("colour", categories=3), Field("size"))


def test_numbers_enter_as_they_are_and_piecewise() -> None:
    encoding = NumberEncoding(1, bins=2)
    encoding.learn(torch.tensor([[0.0], [1.0], [2.0], [4.0], [6.0], [NAN]]))  # edges 0, 2, 6
    found = encoding(torch.tensor([[1.0], [4.0], [-1.0], [20.0], [-9.0], [NAN]]))[:, 0]
    assert found.tolist() == [
        [1.0, 0.5, 0.0],
        [4.0, 1.0, 0.5],
        [-1.0, -0.5, 0.0],  # beyond the range it goes on
        [20.0, 1.0, 3.0],  # to two widths
        [-9.0, -2.0, 0.0],
        [0.0, 0.0, 0.0],
    ]


def test_a_number_far_out_stays_small() -> None:
    encoding = NumberEncoding(1, bins=2)
    encoding.learn(torch.tensor([[0.0], [1.0]]))
    assert encoding(torch.tensor([[1e30]])).abs().max() == 30


def test_few_values_have_few_bins_and_one_value_has_one() -> None:
    encoding = NumberEncoding(2, bins=4)
    encoding.learn(torch.tensor([[0.0, 7.0], [0.0, 7.0], [1.0, 7.0], [1.0, NAN]]))
    found = encoding(torch.tensor([[1.0, 7.5]]))
    assert found[0, 0].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]  # edges 0, 0.5, 1
    assert found[0, 1].tolist() == [7.5, 0.5, 0.0, 0.0, 0.0]


def test_a_number_that_train_never_has_is_encoded_all_the_same() -> None:
    encoding = NumberEncoding(1, bins=2)
    encoding.learn(torch.full((3, 1), NAN))
    assert encoding(torch.tensor([[0.5]])).tolist() == [[[0.5, 0.5, 0.0]]]


def test_the_linear_layer_sums_numbers_categories_and_what_is_missing() -> None:
    layer = FieldLinear(FIELDS, dim=2, bins=2)
    layer.learn_bins(Column(torch.tensor([[0.0, 0.0, 0.0], [2.0, 1.0, 1.0], [6.0, 2.0, 2.0]]), torch.ones(3, dtype=torch.bool)))
    with torch.no_grad():
        layer.weight.copy_(torch.arange(12.0).reshape(6, 2))  # age: x, two bins; size: x, two bins
        layer.table.copy_(torch.tensor([[100.0, 0.0], [200.0, 0.0], [300.0, 0.0]]))
        layer.missing.copy_(torch.tensor([[0.0, 1000.0], [0.0, 2000.0], [0.0, 4000.0]]))
        layer.bias.copy_(torch.tensor([0.5, 0.25]))
    found = layer(torch.tensor([[4.0, 2.0, 1.0], [NAN, NAN, 1.0]]))
    # age 4: [4, 1, 0.5] on rows 0 to 2; size 1: [1, 1, 0] on rows 3 to 5
    sizes = (6 + 8, 7 + 9)
    assert found[0].tolist() == [0 * 4 + 2 + 4 * 0.5 + sizes[0] + 300 + 0.5, 1 * 4 + 3 + 5 * 0.5 + sizes[1] + 0.25]
    assert found[1].tolist() == [sizes[0] + 0.5, sizes[1] + 1000 + 2000 + 0.25]


def test_the_linear_layer_has_as_many_parameters_as_said() -> None:
    layer = FieldLinear(FIELDS, dim=5, bins=4)
    assert sum(p.numel() for p in layer.parameters()) == FieldLinear.parameter_formula(FIELDS, 5, 4)
