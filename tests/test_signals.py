from __future__ import annotations

import torch

from mmcli.signals import Column, RaggedFeatures, Signal


def ragged() -> Column:
    """Rows [1, 2], [], [3, 4, 5]."""
    return Column(torch.tensor([1, 2, 3, 4, 5]), torch.tensor([True, False, True]), torch.tensor([0, 2, 2, 5]))


def test_gather_pads_ragged_rows_with_zeros_in_the_order_asked_for() -> None:
    signal = ragged().gather(torch.tensor([2, 0, 1]))
    assert signal.values.tolist() == [[3, 4, 5], [1, 2, 0], [0, 0, 0]]
    assert signal.lengths is not None
    assert signal.lengths.tolist() == [3, 2, 0]
    assert signal.mask().tolist() == [[True, True, True], [True, True, False], [False, False, False]]
    assert signal.present.tolist() == [True, True, False]


def test_gather_of_empty_rows_has_one_padded_step() -> None:
    assert ragged().gather(torch.tensor([1])).values.tolist() == [[0]]
    nothing = Column(torch.zeros(0, 3), torch.tensor([False]), torch.tensor([0, 0]))
    assert nothing.gather(torch.tensor([0])).values.shape == (1, 1, 3)


def test_select_is_the_smaller_column() -> None:
    small = ragged().select(torch.tensor([2, 1]))
    assert small.values.tolist() == [3, 4, 5]
    assert small.offsets is not None
    assert small.offsets.tolist() == [0, 3, 3]
    assert small.present.tolist() == [True, False]


def test_concatenate_shifts_offsets() -> None:
    both = Column.concatenate([ragged(), ragged()])
    assert both.offsets is not None
    assert both.offsets.tolist() == [0, 2, 2, 5, 7, 7, 10]
    assert both.gather(torch.tensor([5])).values.tolist() == [[3, 4, 5]]


def test_moving_keeps_what_is_not_there() -> None:
    signal = Signal(torch.zeros(2, 3), torch.ones(2, dtype=torch.bool)).to(torch.device("cpu"))
    assert signal.lengths is None


def test_ragged_features_are_padded_to_the_longest_of_the_batch() -> None:
    tokens = torch.arange(10.0).reshape(5, 2)
    own = RaggedFeatures(
        torch.eye(3), tokens, torch.tensor([0, 2, 2, 5]), torch.tensor([True, False, True]), torch.eye(3)[:, :2]
    )
    found = own.gather(torch.tensor([0, 1]))
    assert found.tokens.tolist() == [[[0, 1], [2, 3]], [[0, 0], [0, 0]]]
    assert found.mask.tolist() == [[True, True], [False, False]]
    assert found.pooled.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert found.present.tolist() == [True, False]
    assert found.outputs is not None
    assert found.outputs.tolist() == [[1, 0], [0, 1]]
    assert own.gather(torch.tensor([2])).tokens.tolist() == [[[4, 5], [6, 7], [8, 9]]]
