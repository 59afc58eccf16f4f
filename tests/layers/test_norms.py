"""Layers that normalise, as operators of a graph that becomes ONNX."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmcli.layers.norms import in_one_piece


def moved(own: nn.Module) -> nn.Module:
    """With weights and statistics that are not those it is born with."""
    generator = torch.Generator().manual_seed(1)
    for tensor in [*own.parameters(), *own.buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5
    return own.eval()


@pytest.mark.parametrize(
    ("own", "shape"),
    [
        (nn.LayerNorm(6), (3, 6)),
        (nn.LayerNorm(6, eps=0.1), (3, 4, 6)),
        (nn.BatchNorm1d(6, eps=0.1), (3, 6)),
        (nn.BatchNorm2d(6), (3, 6, 2, 2)),
    ],
)
def test_a_layer_in_one_piece_says_the_same_and_is_one_operator(own: nn.Module, shape: tuple[int, ...]) -> None:
    own, values = moved(own), torch.randn(*shape, generator=torch.Generator().manual_seed(2))
    wanted = own(values)
    with torch.no_grad(), in_one_piece(own):
        assert torch.equal(own(values), wanted)
        program = torch.export.export(own, (values,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function" and "norm" in str(node.target)]
    assert names == [f"mmcli.{'layer' if isinstance(own, nn.LayerNorm) else 'batch'}_norm.default"]
    assert torch.equal(program.module()(values[:2]), own(values[:2]))
    assert "forward" not in vars(own)


def test_dropout_is_not_in_the_graph() -> None:
    own = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2), nn.Dropout(0.5)).eval()
    with torch.no_grad(), in_one_piece(own):
        program = torch.export.export(own, (torch.ones(3, 2),), strict=False)
    assert [str(node.target) for node in program.graph.nodes if node.op == "call_function"] == ["aten.linear.default"]
    with in_one_piece(own.train()):
        assert not any("forward" in vars(layer) for layer in own)


def test_what_has_no_word_is_left_as_it_is() -> None:
    class Own(nn.LayerNorm):
        pass

    layers = nn.ModuleList(
        [
            nn.LayerNorm(4, elementwise_affine=False),
            nn.LayerNorm((2, 4)),
            nn.LayerNorm(4, bias=False),
            nn.BatchNorm2d(4, affine=False).eval(),
            nn.BatchNorm2d(4, track_running_stats=False).eval(),
            nn.BatchNorm2d(4),
            Own(4),
        ]
    )
    with in_one_piece(layers):
        assert not any("forward" in vars(own) for own in layers)
    replaced, other = nn.LayerNorm(4), torch.relu
    vars(replaced)["forward"] = other
    with in_one_piece(replaced):
        assert vars(replaced)["forward"] is other
    assert vars(replaced)["forward"] is other
