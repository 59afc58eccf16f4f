"""A vector for each column: found by each other as by brute force, kept, and put side by side."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.vectors import plain, together
from mmcli.vectors.aligned import SCALE, Aligned, PerColumn, found_by, kin


def drawn(rows: int = 12, columns: int = 3, seed: int = 0) -> Aligned:
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(rows, columns, generator=generator) > 0.2
    values = F.normalize(torch.randn(rows, columns, 4, generator=generator), dim=2) * present[..., None]
    return Aligned(values, present, torch.ones(columns, dtype=torch.bool))


def known(outputs: Aligned) -> Tensor:
    """Each row by itself, cells 0 and 1 of column 1 alike, rows 4 and 5 of one group."""
    rows = torch.arange(len(outputs))
    cells = torch.arange(outputs.present.numel()).reshape(outputs.present.shape)
    cells[1, 0] = cells[0, 0]
    rows[5] = 4
    return torch.cat([rows[:, None], torch.where(outputs.present, cells, -1)], 1)


@pytest.mark.parametrize(("query", "sought"), [([0], [1]), ([2], [0]), ([1, 2], [0])])
def test_ranks_and_losses_are_those_of_brute_force(query: list[int], sought: list[int]) -> None:
    outputs = drawn()
    rows = known(outputs)
    ranks, losses = found_by(outputs, rows, query, sought)
    for row in range(len(outputs)):
        if not (outputs.present[row, query].any() and outputs.present[row, sought].any()):
            assert ranks[row].isnan() and losses[row].isnan()
            continue
        asks = F.normalize(outputs.values[row, query].sum(0), dim=0)
        scores = {}
        for other in range(len(outputs)):
            alike = rows[row, 0] == rows[other, 0]
            for side in (query, sought):
                own = [(int(rows[row, 1 + c]), int(rows[other, 1 + c])) for c in side]
                alike |= all(a == b for a, b in own) and any(a >= 0 for a, _ in own)
            if outputs.present[other, sought].any() and (other == row or not alike):
                scores[other] = float(asks @ F.normalize(outputs.values[other, sought].sum(0), dim=0))
        mine = scores.pop(row)
        assert ranks[row] == 1 + sum(score >= mine - 1e-6 for score in scores.values())
        total = sum(math.exp(SCALE * score) for score in [mine, *scores.values()])
        assert float(losses[row]) == pytest.approx(math.log(total) - SCALE * mine, abs=1e-4)


def test_a_tie_counts_against_a_row_and_equal_cells_do_not_count() -> None:
    same = F.normalize(torch.ones(4, 2, 3), dim=2)
    outputs = Aligned(same, torch.ones(4, 2, dtype=torch.bool), torch.ones(2, dtype=torch.bool))
    apart = torch.tensor([[0, 0, 1], [1, 2, 3], [2, 4, 5], [3, 6, 7]])
    assert found_by(outputs, apart, [0], [1])[0].tolist() == [4, 4, 4, 4]
    equal = torch.tensor([[0, 0, 1], [1, 0, 3], [2, 4, 1], [3, 6, 7]])
    assert found_by(outputs, equal, [0], [1])[0].tolist() == [2, 3, 3, 4]
    assert kin(equal, torch.tensor([0]), [0], [1]).tolist() == [[True, True, True, False]]


def test_they_are_kept_and_put_side_by_side() -> None:
    kind, one, other = PerColumn(), drawn(), drawn(seed=1)
    again = kind.load(kind.save(one, "own"), "own")
    assert torch.allclose(again.values, one.values, atol=1e-3) and torch.equal(again.present, one.present)
    both = kind.mean([one, other], torch.tensor([0.25, 0.75]))
    alike = (both.values[:, 0] * both.values[:, 1]).sum(1)
    each = [(own.values[:, 0] * own.values[:, 1]).sum(1) for own in (one, other)]
    assert torch.allclose(alike, 0.25 * each[0] + 0.75 * each[1], atol=1e-6)
    with pytest.raises(ValueError, match="vectors of shape"):
        kind.load({"own": one.values[:, 0], "own.present": one.present, "own.asked": one.asked}, "own")


def two_views(rows: int = 60, hidden: int = 4, width: int = 20) -> tuple[Tensor, Tensor]:
    """What is common of two columns lies along few axes among others."""
    generator = torch.Generator().manual_seed(3)
    common = torch.randn(rows, hidden, generator=generator)
    made = []
    for _ in range(2):
        noise = torch.randn(rows, width - hidden, generator=generator)
        turn = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
        made.append(torch.cat([common, noise], 1) @ turn)
    return made[0], made[1]


def test_what_is_common_is_found_in_closed_form() -> None:
    one, other = two_views(200)
    train, there = slice(0, 150), torch.ones(150, dtype=torch.bool)
    views = [together.View(one[train], there, 0), together.View(other[train], there, 1)]
    best = 0.0
    for found in together.candidates(views, 4):
        left = F.normalize((one.double() - found.centres[0]) @ found.directions[0], dim=1)[150:]
        right = F.normalize((other.double() - found.centres[1]) @ found.directions[1], dim=1)[150:]
        best = max(best, float(((left @ right.T).argmax(1) == torch.arange(50)).float().mean()))
    assert best > 0.7  # chance is 1 in 50


def test_columns_of_one_space_have_one_set_of_directions() -> None:
    one, _ = two_views()
    near = one + 0.1 * torch.randn(one.shape, generator=torch.Generator().manual_seed(1))
    there = torch.ones(len(one), dtype=torch.bool)
    found = together.candidates([together.View(one, there, 0), together.View(near, there, 0)], 8)
    assert {len(own.directions) for own in found} == {1}
    assert {own.directions[0].shape for own in found} == {(20, 8)}
    assert together.candidates([together.View(one, there, 0), together.View(near, ~there, 0)], 8) == []


def test_large_features_have_the_axes_that_a_whole_decomposition_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(700, 600, generator=generator, dtype=torch.float64) * torch.linspace(1, 0.01, 600) ** 4
    found = together._axes(rows - rows.mean(0), 40)
    whole = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][:20].T
    assert float((found.T @ whole).square().sum(0).min()) > 0.99


def test_columns_of_one_kind_are_compared_as_they_are() -> None:
    texts = ["red bike", "blue car", "tall green tree", "a small house"]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(4, 6, generator=generator).double().numpy()
    inputs = {"a": (None, texts), "b": (None, [f"the {own}" for own in texts]), "p": (pixels, None), "q": (pixels, None)}
    rows = torch.tensor([[row, *(4 * column + row for column in range(4))] for row in range(4)])
    found = plain.alike(inputs, rows, ["a", "b", "p", "q"], torch.arange(4))
    assert found is not None
    assert found_by(found, rows, [0], [1])[0].tolist() == found_by(found, rows, [2], [3])[0].tolist() == [1, 1, 1, 1]
    assert found_by(found, rows, [0], [2])[0].tolist() == [4, 4, 4, 4]  # nothing in common: ties
    assert plain.alike({"a": (None, texts), "p": (pixels, None)}, rows[:, :3], ["a", "p"], torch.arange(4)) is None
