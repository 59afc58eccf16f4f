"""Each method against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mmcli.errors import ConfigError
from mmcli.fusions import Alignment
from mmcli.fusions.align import Align
from mmcli.fusions.align import Config as AlignConfig
from mmcli.fusions.concat import Concat
from mmcli.fusions.concat import Config as ConcatConfig
from mmcli.fusions.gated import Config as GatedConfig
from mmcli.fusions.gated import Gated
from mmcli.fusions.sequential import Config as SequentialConfig
from mmcli.fusions.sequential import Sequential
from mmcli.signals import Features


def of(*rows: list[float], present: list[bool] | None = None) -> Features:
    pooled = torch.tensor(rows)
    here = torch.tensor(present if present is not None else [True] * len(rows))
    return Features(pooled, pooled[:, None], torch.ones(len(rows), 1, dtype=torch.bool), here)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def unit() -> Gated:
    """One hidden unit over two columns of widths 2 and 1, with weights that can be followed on paper."""
    fusion = Gated(GatedConfig(hidden=1, normalize=False), {"v": 2, "t": 1}).eval()
    with torch.no_grad():
        fusion.transforms[0].weight.copy_(torch.tensor([[0.5, -1.0]]))
        fusion.transforms[1].weight.copy_(torch.tensor([[2.0]]))
        for transform in fusion.transforms:
            transform.bias.zero_()
        # V_1 and V_2 of the softmax; the paper's W_z is their difference: [0.3, 0.1, -0.4]
        fusion.gate.weight.copy_(torch.tensor([[0.5, 0.2, 0.1], [0.2, 0.1, 0.5]]))
    return fusion


def test_gated_is_the_gated_multimodal_unit_of_arevalo_for_two_columns() -> None:
    fused = unit()({"v": of([1.0, 0.25]), "t": of([0.75])})
    h_v = math.tanh(0.5 * 1.0 - 1.0 * 0.25)
    h_t = math.tanh(2.0 * 0.75)
    z = sigmoid(0.3 * 1.0 + 0.1 * 0.25 - 0.4 * 0.75)
    assert fused.pooled.item() == pytest.approx(z * h_v + (1 - z) * h_t, abs=1e-6)
    assert fused.weights is not None
    assert fused.weights[0].tolist() == pytest.approx([z, 1 - z], abs=1e-6)


def test_gated_gives_an_absent_column_weight_zero_and_hides_it_from_the_gate() -> None:
    fused = unit()({"v": of([1.0, 0.25], [9.0, 9.0]), "t": of([0.75], [0.5], present=[False, True])})
    assert fused.weights is not None
    assert fused.weights[0].tolist() == [1.0, 0.0]
    assert fused.pooled[0].item() == pytest.approx(math.tanh(0.25), abs=1e-6)


def test_concat_without_a_hidden_layer_is_the_features_themselves() -> None:
    fused = Concat(ConcatConfig(hidden=0), {"a": 2, "b": 1})({"b": of([3.0]), "a": of([1.0, 2.0])})
    assert fused.pooled.tolist() == [[1.0, 2.0, 3.0]]


def test_concat_by_hand() -> None:
    fusion = Concat(ConcatConfig(hidden=1), {"a": 2, "b": 2}).eval()
    linear = next(layer for layer in fusion.network if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
        linear.bias.fill_(0.5)
    # LayerNorm takes [1, 3] to [-1, 1] and [6, 2] to [1, -1]
    fused = fusion({"a": of([1.0, 3.0]), "b": of([6.0, 2.0])})
    assert fused.pooled.item() == pytest.approx(max(0.0, -1 + 2 + 3 - 4 + 0.5), abs=1e-4)


def gru(cell: torch.nn.GRUCell, x: float, h: float) -> float:
    """The GRU's equations for one unit; torch's order of gates: reset, update, new."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = cell.weight_ih[:, 0].tolist(), cell.weight_hh[:, 0].tolist()
    b_x, b_h = cell.bias_ih.tolist(), cell.bias_hh.tolist()
    r = sigmoid(r_x * x + b_x[0] + r_h * h + b_h[0])
    z = sigmoid(z_x * x + b_x[1] + z_h * h + b_h[1])
    n = math.tanh(n_x * x + b_x[2] + r * (n_h * h + b_h[2]))
    return (1 - z) * n + z * h


def sequential(order: tuple[str, ...] = ()) -> Sequential:
    torch.manual_seed(1)
    fusion = Sequential(SequentialConfig(hidden=1, order=order), {"a": 2, "b": 2}).eval()
    with torch.no_grad():
        for projection in fusion.projections:
            projection.weight.copy_(torch.tensor([[0.0, 1.0]]))
            projection.bias.zero_()
    return fusion


def test_sequential_by_hand_in_order_skipping_absent_columns() -> None:
    fusion = sequential()
    inputs = {"a": of([1.0, 3.0], [1.0, 3.0]), "b": of([6.0, 2.0], [6.0, 2.0], present=[True, False])}
    fused = fusion(inputs).pooled[:, 0].tolist()
    after_a = gru(fusion.cell, 1.0, 0.0)
    assert fused[0] == pytest.approx(gru(fusion.cell, -1.0, after_a), abs=1e-4)
    assert fused[1] == pytest.approx(after_a, abs=1e-4)


def test_the_order_of_sequential_is_as_declared() -> None:
    inputs = {"a": of([1.0, 3.0]), "b": of([6.0, 2.0])}
    backwards = sequential(("b", "a"))
    expected = gru(backwards.cell, 1.0, gru(backwards.cell, -1.0, 0.0))
    assert backwards(inputs).pooled.item() == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ConfigError, match=r"unknown column 'c'"):
        sequential(("a", "c"))
    with pytest.raises(ConfigError, match="must name each of a, b once"):
        sequential(("a",))


def test_align_projects_unit_features_of_all_encoders_of_a_column_less_their_centre() -> None:
    plan = Alignment(("v", "t", "u"), {"v/a": "v", "v/b": "v", "t": "t"})
    fusion = Align(AlignConfig(dim=2), {"v/a": 2, "v/b": 1, "t": 2}, plan).eval()
    fusion.start(
        [torch.tensor([0.1, 0.0, 0.5]), torch.zeros(2)],
        [torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]]), torch.tensor([[0.0], [1.0]])],
    )
    here = {"v/a": of([3.0, 4.0], [3.0, 4.0]), "v/b": of([-7.0], [2.0])}
    fused = fusion({**here, "t": of([0.0, 5.0], [1.0, 1.0], present=[True, False])}).pooled
    # x = [.6, .8, -1] less [.1, 0, .5]: [.5, .8, -1.5], so z = [.5 - 3, .8]; with 2 in place of -7: [.5 + 1, .8].
    rows = [[-2.5, 0.8], [1.5, 0.8]]
    wanted = [[value / math.hypot(*row) for value in row] for row in rows]
    assert fused[0].tolist() == pytest.approx([*wanted[0], 1.0, 0.0, 0.0, 0.0])  # t has one direction, u is not read
    assert fused[1].tolist() == pytest.approx([*wanted[1], 0.0, 0.0, 0.0, 0.0])


def test_columns_lie_in_one_space_where_they_share_all_their_encoders() -> None:
    sources = {"v/a": "v", "v/b": "v", "w/a": "w", "w/b": "w", "t": "t"}
    whole = Alignment(("v", "w", "t"), sources, (("v/a", "w/a"), ("v/b", "w/b")))
    dims = {"v/a": 2, "v/b": 3, "w/a": 2, "w/b": 3, "t": 4}
    assert Align(AlignConfig(), dims, whole).spaces == [0, 0, 1]
    part = Alignment(("v", "w", "t"), sources, (("v/a", "w/a"),))
    assert Align(AlignConfig(), dims, part).spaces == [0, 1, 2]
    with_more = AlignConfig(dim=8, hidden=5)
    made = Align(with_more, dims, whole)
    assert sum(own.numel() for own in made.parameters()) == Align.parameter_formula(with_more, dims, whole)
    assert Align.parameter_formula(with_more, dims, whole) == sum(wide * 8 + (wide + 1 + 8) * 5 for wide in (5, 5, 4))
