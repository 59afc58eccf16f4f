"""Searching unit vectors: what brute force finds, equal ones in the order of rows, never more than a block at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.vectors import nearest
from mmcli.vectors.nearest import Hits, Nearest


def drawn(seed: int, rows: int, width: int = 12) -> Tensor:
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def brute(kept: Tensor, queries: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    units = [F.normalize(own.float(), dim=1).double().numpy() for own in (queries, kept)]
    alike = (units[0][:, None] * units[1][None]).sum(2)
    order = np.argsort(-alike, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(alike, order, 1)


def same(found: Hits, kept: Tensor, queries: Tensor, k: int) -> None:
    rows, alike = brute(kept, queries, k)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.similarities, alike, atol=1e-12)


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("held", [1 << 30, 0])
def test_it_finds_what_brute_force_finds(k: int, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "HELD", held)
    for block, group in ((65_536, 128), (700, 8), (64, 4)):
        monkeypatch.setattr(nearest, "BLOCK_ROWS", block)
        monkeypatch.setattr(nearest, "GROUP", group)
        kept, queries = drawn(0, 3001).half(), drawn(1, 9)
        same(Nearest(kept).search(queries, k), kept, queries, k)


def test_the_first_of_equal_rows_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than are looked at once more, across blocks."""
    monkeypatch.setattr(nearest, "BLOCK_ROWS", 50)
    monkeypatch.setattr(nearest, "GROUP", 2)
    kept = drawn(2, 200)
    kept[20:180:2] = kept[20]
    found = Nearest(kept).search(kept[20:21], 30)
    assert found.rows[0].tolist() == list(range(20, 80, 2))
    assert len(set(found.similarities[0].tolist())) == 1
    same(Nearest(kept).search(drawn(3, 4), 30), kept, drawn(3, 4), 30)


def test_similarities_that_single_precision_confuses_are_told_apart() -> None:
    """Rows whose similarities differ by less than its last bit, the nearest of them last."""
    kept = torch.zeros(400, 2)
    kept[:, 0], kept[:, 1] = 1.0, torch.linspace(1e-6, 3e-6, 400)
    query = torch.tensor([[0.8, 0.6]])
    same(Nearest(kept).search(query, 3), kept, query, 3)
    assert Nearest(kept).search(query, 1).rows[0, 0] == 399


def test_more_than_there_are_and_none_at_all() -> None:
    kept = drawn(4, 3)
    assert Nearest(kept).search(drawn(5, 2), 10).rows.shape == (2, 3)
    assert Nearest(kept).search(kept[:0], 10).rows.shape == (0, 3)
    assert Nearest(kept[:0]).search(kept, 10).rows.shape == (3, 0)


def test_vectors_of_any_length_are_compared_by_their_cosine() -> None:
    kept = torch.tensor([[0.1, 0.1], [0.0, 9.0]])
    found = Nearest(kept).search(torch.tensor([[5.0, 0.0]]), 2)
    assert found.rows[0].tolist() == [0, 1]
    np.testing.assert_allclose(found.similarities[0], [2**-0.5, 0.0], atol=1e-7)


def test_no_more_than_a_block_is_compared_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK_ROWS", 100)
    monkeypatch.setattr(nearest, "BLOCK_QUERIES", 10)
    monkeypatch.setattr(nearest, "HELD", 0)
    seen, inner = [], nearest.of_block
    monkeypatch.setattr(nearest, "of_block", lambda q, b, k: seen.append((len(q), len(b), b.dtype)) or inner(q, b, k))
    kept = drawn(6, 250).half()
    searched = Nearest(kept)
    assert searched._blocks is None
    same(searched.search(drawn(7, 25), 4), kept, drawn(7, 25), 4)
    sizes = [(queries, rows) for queries in (10, 10, 5) for rows in (100, 100, 50)]
    assert seen == [(*own, torch.float32) for own in sizes]


def test_many_hits_are_looked_at_few_queries_at_a_time() -> None:
    kept = Nearest(torch.nn.functional.normalize(torch.randn(50_000, 128, generator=torch.Generator().manual_seed(0)), dim=1))
    assert kept.at_once(5) == nearest.BLOCK_QUERIES
    assert kept.at_once(20_000) == 5
    assert kept.at_once(10**9) == 2
