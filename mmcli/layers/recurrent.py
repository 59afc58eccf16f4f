"""LSTMs and GRUs over ragged sequences, in a form that graphs can hold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmcli.signals import sent


def recurrent(
    network: nn.LSTM | nn.GRU, values_BTD: Tensor, lengths: Tensor, on_host: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Padded sequences through an LSTM or GRU, each by its true length: states [B, T, directions x hidden], zero beyond it,
    and the last ones [layers x directions, B, hidden]. `on_host` are the lengths, where they are known there: else a device is
    asked for them, and waited for."""
    if torch.compiler.is_exporting():
        return _recurrent_in_a_graph(network, values_BTD, lengths)
    ends, order = (lengths.cpu() if on_host is None else on_host).sort(descending=True)
    longest_first, back = sent(order, values_BTD.device), sent(order.argsort(), values_BTD.device)
    packed = pack_padded_sequence(values_BTD.index_select(0, longest_first), ends, batch_first=True)
    if values_BTD.is_cuda and not torch.compiler.is_compiling():
        put_together(network)
    states, last = network(packed)
    states_BTD, _ = pad_packed_sequence(states, batch_first=True, total_length=values_BTD.shape[1])
    last = last[0] if isinstance(last, tuple) else last
    return states_BTD.index_select(0, back), last.index_select(1, back)


def put_together(network: nn.LSTM | nn.GRU) -> None:
    """Has the weights lie in one piece of a GPU's memory, as cuDNN reads them: those of a copy lie apart, and it would put them
    together in every call, with a warning."""
    if len({weight.untyped_storage().data_ptr() for weight in network._flat_weights if weight is not None}) > 1:
        network.flatten_parameters()


def recurrent_padded(network: nn.LSTM, values_BTD: Tensor, lengths: Tensor, on_host: Tensor | None = None) -> Tensor:
    """The states [B, T, directions x hidden] that `recurrent` gives of an LSTM, up to rounding. On a CPU it computes padding
    too, each direction from where the row begins for it: rows of different lengths then take a quarter of the time, since
    PyTorch has a kernel for whole rectangles only (torch 2.14)."""
    if torch.compiler.is_exporting() or values_BTD.device.type != "cpu":
        return recurrent(network, values_BTD, lengths, on_host)[0]
    steps = torch.arange(values_BTD.shape[1])[None]
    real = (steps < lengths[:, None])[..., None]
    turned = torch.where(real[..., 0], lengths[:, None] - 1 - steps, steps)[..., None]  # its own inverse
    first = values_BTD.new_zeros(1, len(values_BTD), network.hidden_size)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    for layer in range(network.num_layers):
        if layer:
            values_BTD = F.dropout(values_BTD, network.dropout, network.training)
        ways = []
        for direction in ("", "_reverse") if network.bidirectional else ("",):
            own = values_BTD.gather(1, turned.expand_as(values_BTD)) if direction else values_BTD
            weights = [getattr(network, f"{name}_l{layer}{direction}") for name in names]
            states, _, _ = torch.lstm(own, (first, first), weights, True, 1, 0.0, network.training, False, True)
            ways.append(states.gather(1, turned.expand_as(states)) if direction else states)
        values_BTD = torch.cat(ways, 2) * real
    return values_BTD


@torch.library.custom_op("mmcli::recurrent_layer", mutates_args=())
def recurrent_layer(
    values_TBD: Tensor, inner: Tensor, across: Tensor, bias: Tensor, lengths: Tensor, hidden: int, lstm: bool
) -> tuple[Tensor, Tensor]:
    """One layer as ONNX defines its LSTM and GRU, in a graph that is to become ONNX: states [T, directions, B, hidden] and the
    last ones [directions, B, hidden]. It is run by nothing else: traced, a layer would be unrolled, step by step."""
    raise NotImplementedError("a recurrent layer in a graph is for ONNX alone")


@recurrent_layer.register_fake
def _(
    values_TBD: Tensor, inner: Tensor, across: Tensor, bias: Tensor, lengths: Tensor, hidden: int, lstm: bool
) -> tuple[Tensor, Tensor]:
    del across, bias, lengths, lstm
    steps, rows, directions = values_TBD.shape[0], values_TBD.shape[1], inner.shape[0]
    return values_TBD.new_empty(steps, directions, rows, hidden), values_TBD.new_empty(directions, rows, hidden)


def _recurrent_in_a_graph(network: nn.LSTM | nn.GRU, states_BTD: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The gates in the order of ONNX: of an LSTM input, output, forget, cell; of a GRU update, reset, new."""
    lstm, last = isinstance(network, nn.LSTM), []
    order = [0, 3, 1, 2] if lstm else [1, 0, 2]
    for layer in range(network.num_layers):
        ways: dict[str, list[Tensor]] = {"weight_ih": [], "weight_hh": [], "bias_ih": [], "bias_hh": []}
        for direction in ("", "_reverse") if network.bidirectional else ("",):
            for name, own in ways.items():
                gates = getattr(network, f"{name}_l{layer}{direction}").chunk(len(order))
                own.append(torch.cat([gates[place] for place in order]))
        bias = torch.cat([torch.stack(ways["bias_ih"]), torch.stack(ways["bias_hh"])], 1)
        inner, across = torch.stack(ways["weight_ih"]), torch.stack(ways["weight_hh"])
        states_TEBH, end = recurrent_layer(
            states_BTD.transpose(0, 1).contiguous(), inner, across, bias, lengths, network.hidden_size, lstm
        )
        states_BTD = states_TEBH.permute(2, 0, 1, 3).flatten(2)
        last.append(end)
    return states_BTD, torch.cat(last)
