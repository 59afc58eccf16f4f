"""Recurrent networks over rows of different lengths."""

from __future__ import annotations

import torch
from torch import nn

from mmcli.layers.recurrent import recurrent, recurrent_padded


def test_an_lstm_over_padded_rows_gives_the_states_and_gradients_of_packed_ones() -> None:
    torch.manual_seed(0)
    network = nn.LSTM(5, 7, 2, bidirectional=True, batch_first=True)
    lengths = torch.tensor([6, 1, 9, 4])
    values = torch.randn(4, 9, 5)
    weights, found = torch.randn(4, 9, 14), []
    for states in (recurrent(network, values, lengths)[0], recurrent_padded(network, values, lengths)):
        network.zero_grad()
        (states * weights).sum().backward()
        found.append([states, *(own.grad.clone() for own in network.parameters() if own.grad is not None)])
    assert len(found[0]) == 17
    for packed, padded in zip(*found, strict=True):
        torch.testing.assert_close(padded, packed, atol=1e-5, rtol=1e-4)
    assert (found[1][0][1, 1:] == 0).all()
