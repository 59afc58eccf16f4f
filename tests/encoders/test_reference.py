"""The founding network, layer by layer: its parameter counts, and a forward pass against a hand-written version.

Keras: Conv2D(32, 3x3, relu), MaxPooling2D(2), Flatten, Dense(128, relu) on 64 x 64 x 3; Embedding(10000, 64), LSTM(64);
concatenate; Dense(10, softmax).
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmcli.encoders import parameter_count
from mmcli.encoders.cnn import Cnn
from mmcli.encoders.cnn import Config as CnnConfig
from mmcli.encoders.rnn import Config as RnnConfig
from mmcli.encoders.rnn import Rnn
from mmcli.errors import ConfigError
from mmcli.fusions.concat import Concat
from mmcli.fusions.concat import Config as ConcatConfig
from mmcli.heads.linear import Config as LinearConfig
from mmcli.heads.linear import Linear
from mmcli.layers.residual import ResidualStack
from mmcli.models.networks import FusedModel, FusionHead
from mmcli.signals import Signal, SignalSpec
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig

GRID = SignalSpec(kind="grid", shape=(3, 64, 64))
IDS = SignalSpec(kind="ids", shape=(), vocab_size=8000, pieces=())


TEN = Classification.fit(TaskConfig(), [(str(i),) for i in range(10)], ["y"])


def network() -> FusedModel:
    torch.manual_seed(0)
    encoders = {
        "picture": Cnn(CnnConfig(preset="reference"), GRID),
        "words": Rnn(RnnConfig(preset="reference"), IDS),
    }
    fusion = Concat(ConcatConfig(hidden=0), {"picture": 128, "words": 64})
    return FusedModel(
        encoders,
        FusionHead(
            fusion,
            Linear(LinearConfig(), TEN, fusion.dim),
            {"picture": 128, "words": 64},
            {"picture": "picture", "words": "words"},
        ),
    ).eval()


def test_parameter_counts_layer_by_layer() -> None:
    model = network()
    cnn, rnn = model.encoders
    assert isinstance(cnn, Cnn)
    assert isinstance(rnn, Rnn)
    assert parameter_count(cnn.body[0]) == 896
    assert parameter_count(cnn.dense) == 3_936_384
    assert parameter_count(rnn.embed) == 640_000
    # Keras has one bias vector to a gate, 33,024; torch has two, which add up to one.
    assert parameter_count(rnn.recur) == 33_280 == 33_024 + 4 * 64
    assert parameter_count(model.fusion_head.fusion) == 0
    assert parameter_count(model.fusion_head.head) == 1_930


def lstm_by_hand(rnn: Rnn, ids: list[int]) -> torch.Tensor:
    """The last hidden state, by the equations of the LSTM, gates in torch's order: input, forget, cell, output."""
    w_x, w_h, b_x, b_h = (getattr(rnn.recur, f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    hidden = cell = torch.zeros(64)
    for token in ids:
        i, f, g, o = (w_x @ rnn.embed.weight[token] + b_x + w_h @ hidden + b_h).chunk(4)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
    return hidden


@torch.no_grad()
def test_forward_equals_the_hand_written_network() -> None:
    model = network()
    cnn, rnn = model.encoders
    assert isinstance(cnn, Cnn)
    assert isinstance(rnn, Rnn)
    grids = torch.randn(2, 3, 64, 64)
    rows = [[5, 17, 256], [9, 1, 33, 7, 7999]]
    ids = torch.tensor([[5, 17, 256, 0, 0], rows[1]], dtype=torch.int32)
    here = torch.ones(2, dtype=torch.bool)
    inputs = {"picture": Signal(grids, here), "words": Signal(ids, here, torch.tensor([3, 5]))}

    # ReLU before the pooling here, after it in the encoder: the same function.
    convolved = F.max_pool2d(F.relu(F.conv2d(grids, cnn.body[0].weight, cnn.body[0].bias)), 2)
    pictures = F.relu(convolved.permute(0, 2, 3, 1).flatten(1) @ cnn.dense.weight.T + cnn.dense.bias)
    words = torch.stack([lstm_by_hand(rnn, row) for row in rows])
    head = model.fusion_head.head
    expected = torch.softmax(torch.cat([pictures, words], 1) @ head.linear.weight.T + head.linear.bias, dim=1)

    torch.testing.assert_close(model(inputs).outputs.softmax(1), expected, atol=1e-5, rtol=1e-4)


def test_the_reference_needs_a_vocabulary_that_fits() -> None:
    with pytest.raises(ConfigError, match="--vocab-size 10000"):
        Rnn(RnnConfig(preset="reference"), SignalSpec(kind="ids", shape=(), vocab_size=12_000))


@pytest.mark.parametrize("rows", [1, 3, 5, 7, 33])
def test_batches_of_any_size_train_in_channels_last(rows: int) -> None:
    """Odd batches have crashed the backward pass of a strided 1x1 convolution: they give the gradients of plain tensors."""
    torch.manual_seed(0)
    stack = ResidualStack(3, 8, 2, 1).double().train()
    grid = torch.randn(rows, 3, 16, 16, dtype=torch.float64)
    grads = []
    for form in (torch.contiguous_format, torch.channels_last):
        stack.zero_grad()
        stack(grid.contiguous(memory_format=form)).square().sum().backward()
        grads.append([p.grad.clone() for p in stack.parameters() if p.grad is not None])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
    single = ResidualStack(3, 8, 2, 1).train()
    for _ in range(5):
        single(grid.float().contiguous(memory_format=torch.channels_last)).square().sum().backward()


@pytest.mark.parametrize(("size", "asked", "stride", "tokens"), [(64, 0, 4, 16), (47, 0, 2, 36), (64, 2, 2, 64), (32, 4, 4, 4)])
def test_the_first_convolution_takes_every_fourth_pixel_of_large_pictures(
    size: int, asked: int, stride: int, tokens: int
) -> None:
    config = CnnConfig(width=4, stem=asked)  # type: ignore[arg-type]
    spec = SignalSpec(kind="grid", shape=(3, size, size))
    encoder = Cnn(config, spec).eval()
    assert encoder.body.stem.stride == (stride, stride)
    made = encoder(Signal(torch.zeros(2, 3, size, size), torch.ones(2, dtype=torch.bool)))
    assert made.tokens.shape == (2, tokens, 16)
    assert parameter_count(encoder) == Cnn.parameter_formula(config, spec)
