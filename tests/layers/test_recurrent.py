"""Recurrent networks over rows of different lengths."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mmcli.layers.recurrent import put_together, recurrent, recurrent_padded


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


def test_weights_of_a_copy_are_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN wants them in one piece of memory, which a network has on a GPU, and a copy of it has not."""
    network, calls = nn.GRU(3, 4, bidirectional=True), []

    def together(own: nn.GRU) -> None:
        calls.append(own)
        whole = torch.cat([weight.detach().flatten() for weight in own.parameters()])
        for weight, part in zip(own.parameters(), whole.split([w.numel() for w in own.parameters()]), strict=True):
            weight.data = part.view_as(weight)

    monkeypatch.setattr(nn.GRU, "flatten_parameters", together)
    put_together(network)
    assert calls == [network]
    put_together(network)  # it lies in one piece now
    assert calls == [network]
    apart = copy.deepcopy(network)
    put_together(apart)
    assert calls == [network, apart]
    assert all(torch.equal(own, other) for own, other in zip(apart.parameters(), network.parameters(), strict=True))
