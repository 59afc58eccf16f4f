"""Vectors of fewer numbers: inner products as they were where the rows span no more, else the nearest there are."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmcli.models import calibration
from mmcli.vectors.aligned import Aligned
from mmcli.vectors.embedded import Embedded, accepting
from mmcli.vectors.narrowed import Narrowed, axes, rows_of


def spanned(rows: int, width: int, rank: int, seed: int = 0) -> torch.Tensor:
    """Unit vectors of a subspace, all on one side of it: their mean is far from zero."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(width, rank, generator=generator)).Q
    inside = torch.randn(rows, rank, generator=generator) + 4.0 * torch.eye(rank)[0]
    return F.normalize(inside @ basis.T, dim=1)


def test_rows_of_few_dimensions_keep_their_cosines() -> None:
    rows = spanned(40, 24, 5)
    directions, held = axes(rows)
    assert directions.shape == (24, 24)
    torch.testing.assert_close(directions.T @ directions, torch.eye(24, dtype=torch.float64))
    torch.testing.assert_close(held[4:], torch.ones(20, dtype=torch.float64))
    assert held[3] < 0.9999
    layer = Narrowed.of(directions[:, :5], Embedded(rows, rows, torch.arange(40), torch.tensor(0.5)))
    torch.testing.assert_close(layer.along(rows) @ layer.along(rows).T, rows @ rows.T, atol=1e-5, rtol=0)


def test_of_all_directions_they_keep_the_inner_products_best() -> None:
    """By their squares: the error is that of the sizes left out; centred axes keep them less well."""
    rows = spanned(60, 12, 12, 1)
    whole = rows.double() @ rows.double().T

    def error(directions: torch.Tensor) -> float:
        made = rows.double() @ directions
        return float((made @ made.T - whole).square().sum())

    directions, held = axes(rows)
    sizes = torch.linalg.svdvals(rows.double())
    assert abs(error(directions[:, :4]) - float(sizes[4:].pow(4).sum())) < 1e-8
    torch.testing.assert_close(held, sizes.square().cumsum(0) / sizes.square().sum())
    centred = torch.linalg.svd(rows.double() - rows.double().mean(0)).Vh[:4].T
    assert error(centred) > 2 * error(directions[:, :4])


def test_the_layer_holds_its_own_enrolled_and_is_built_again() -> None:
    rows = spanned(30, 16, 16, 2)
    owners = torch.arange(30) // 3
    given = Embedded(rows[:12], rows[12:], owners[12:], torch.tensor(0.25))
    layer = Narrowed.of(axes(rows)[0][:, :3], given)
    hollow = Embedded(rows[:12], torch.zeros(0, 16), torch.zeros(0, dtype=torch.int64), torch.tensor(9.0))
    found = layer(hollow)
    assert isinstance(found, Embedded)
    assert found.values.shape == (12, 3)
    torch.testing.assert_close(found.values.norm(dim=1), torch.ones(12))
    torch.testing.assert_close(found.gallery, layer.along(rows[12:]))
    assert found.identities.tolist() == owners[12:].tolist()
    assert float(found.threshold) == 0.25
    kind, shape = calibration.described(layer)
    assert (kind, shape) == ("axes", (16, 3, 18))
    again = calibration.build(kind, shape)
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(hollow).values, found.values)
    seen = Embedded(layer.along(rows), layer.gallery, layer.identities, layer.threshold)
    layer.settle(seen, owners)
    assert float(layer.threshold) == accepting(seen, owners) != 0.25


def test_columns_share_their_axes_and_absent_cells_stay_zeros() -> None:
    rows = spanned(20, 10, 4, 3).reshape(10, 2, 10).clone()
    rows[3, 1] = 0
    given = Aligned(rows, (rows != 0).any(2), torch.ones(2, dtype=torch.bool))
    assert rows_of(given).shape == (20, 10)
    found = Narrowed.of(axes(rows_of(given))[0][:, :4], given)(given)
    assert isinstance(found, Aligned)
    assert found.values.shape == (10, 2, 4)
    assert not found.values[3, 1].any()
    torch.testing.assert_close(found.values[:, 0] @ found.values[:, 1].T, rows[:, 0] @ rows[:, 1].T, atol=1e-5, rtol=0)
