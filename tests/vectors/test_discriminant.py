"""Discriminants, against scikit-learn and on features whose telling direction is known."""

from __future__ import annotations

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mmcli.vectors import discriminant


def rows(identities: int = 6, each: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Identities differ along the first two of eight numbers; the third, of which they know nothing, is loud."""
    generator = torch.Generator().manual_seed(0)
    names = torch.arange(identities).repeat_interleave(each)
    means = torch.randn(identities, 2, generator=generator, dtype=torch.float64)
    values = 0.2 * torch.randn(len(names), 8, generator=generator, dtype=torch.float64)
    values[:, :2] += means[names]
    values[:, 2] *= 40
    return values, names


def test_without_shrinkage_it_is_the_usual_analysis() -> None:
    values, names = rows()
    axes = discriminant.principal(values)
    found = axes.of(values) @ discriminant.discriminants(axes.of(values), names, 0.0)
    wanted = LinearDiscriminantAnalysis(solver="svd").fit(values.numpy(), names.numpy()).transform(values.numpy())
    for place in range(2):
        together = torch.corrcoef(torch.stack([found[:, place], torch.from_numpy(wanted[:, place])]))
        assert abs(float(together[0, 1])) > 0.9999


def test_pairs_are_identities_of_two_rows() -> None:
    values, names = rows(identities=12, each=2)
    ones, others = values[::2], values[1::2]
    right = torch.ones(12, dtype=torch.bool)
    found = discriminant.of_pairs(ones, others, right, 2, shrinkage=0.0)
    assert found is not None
    assert found.directions.shape == (8, 2)
    axes = discriminant.principal(values)
    wanted = axes.of(values) @ discriminant.discriminants(axes.of(values), names, 0.0)
    for place in range(2):
        together = torch.corrcoef(torch.stack([found.of(values)[:, place], wanted[:, place]]))
        assert abs(float(together[0, 1])) > 0.999
    # Pairs that do not belong together are cells by themselves: they tell how far cells lie apart, not how near.
    torn = torch.cat([right, torch.zeros(12, dtype=torch.bool)])
    more = discriminant.of_pairs(torch.cat([ones, ones]), torch.cat([others, others.roll(1, 0)]), torn, 2, shrinkage=0.0)
    assert more is not None
    inner = (more.of(ones) - more.of(others)).square().sum(1).mean()
    assert inner < 0.1 * (more.of(ones) - more.of(others.roll(1, 0))).square().sum(1).mean()


def test_nothing_tells_pairs_apart_that_are_none_or_equal() -> None:
    values, _ = rows()
    no = torch.zeros(len(values), dtype=torch.bool)
    assert discriminant.of_pairs(values, values.roll(1, 0), no, 4) is None
    assert discriminant.of_pairs(values, values, ~no, 4) is None
    assert discriminant.of_pairs(values[:0], values[:0], no[:0], 4) is None


def test_principal_axes_are_orthogonal_and_in_order() -> None:
    values, _ = rows()
    axes = discriminant.principal(values, 4)
    torch.testing.assert_close(axes.directions.T @ axes.directions, torch.eye(4, dtype=torch.float64))
    spread = axes.of(values).std(0)
    assert (spread.diff() <= 0).all()
    assert int(axes.directions[:, 0].abs().argmax()) == 2  # the loudest


def test_rows_that_were_kept_out_choose_the_discriminants_where_the_loud_number_misleads() -> None:
    values, names = rows()
    projected = discriminant.principal(values).of(values)
    for unseen in (False, True):
        _, plain = discriminant.choose(projected, names, unseen=unseen, most=8)
        assert plain == 0.0


def test_of_many_rows_whole_identities_are_tried() -> None:
    names = torch.arange(1000).repeat_interleave(3)
    kept = discriminant._some(torch.zeros(3000, 2), names)[1]
    assert len(kept) == discriminant.MOST_TRIED
    assert (torch.unique(kept, return_counts=True)[1] == 3).all()
