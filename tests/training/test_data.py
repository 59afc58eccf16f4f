from __future__ import annotations

import torch

from mmcli.signals import Column, Signal
from mmcli.training.data import Rows, shuffled


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    index = torch.arange(100, 110)
    one = shuffled(index, 4, seed=1, epoch=0)
    assert sorted(torch.cat(one).tolist()) == list(range(100, 110))
    assert [len(part) for part in one] == [4, 4, 2]
    assert all(torch.equal(a, b) for a, b in zip(one, shuffled(index, 4, seed=1, epoch=0), strict=True))
    assert torch.cat(one).tolist() != torch.cat(shuffled(index, 4, seed=1, epoch=1)).tolist()
    assert torch.cat(one).tolist() != torch.cat(shuffled(index, 4, seed=2, epoch=0)).tolist()


def test_no_batch_of_one_row() -> None:
    assert [len(part) for part in shuffled(torch.arange(9), 4, 0, 0)] == [4, 5]
    assert [len(part) for part in shuffled(torch.arange(1), 4, 0, 0)] == [1]


def test_only_training_batches_are_varied() -> None:
    column = Column(torch.ones(4, 2), torch.ones(4, dtype=torch.bool))
    varied = {"a": lambda s, targets: Signal(s.values * 2 + targets[:, None], s.present)}
    rows = Rows({"a": column, "b": column}, torch.arange(4), {}, varied)
    index = torch.tensor([3, 1])
    assert rows.varied(rows.gather(index)).inputs["a"].values.tolist() == [[5, 5], [3, 3]]
    assert rows.varied(rows.gather(index)).inputs["b"].values.unique().tolist() == [1]
    assert rows.gather(index).inputs["a"].values.unique().tolist() == [1]
    assert rows.gather(index).targets.tolist() == [3, 1]
    assert [batch.row_ids.tolist() for batch in rows.in_order(torch.tensor([2, 0, 3]), 2)] == [[2, 0], [3]]


def test_rows_are_scored_from_the_shortest_to_the_longest_and_put_back() -> None:
    lengths = torch.tensor([3, 1, 40, 2] * 20)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    column = Column(torch.arange(int(offsets[-1]))[:, None], torch.ones(80, dtype=torch.bool), offsets)
    rows = Rows({"a": column}, torch.arange(80), {}, {})
    index = torch.arange(0, 80, 2).flip(0)
    batches, places = rows.to_score(index, 256, by_length=True)
    found = list(batches)
    assert [len(batch) for batch in found] == [32, 8]
    ids = torch.cat([batch.row_ids for batch in found])
    assert lengths[ids].diff().ge(0).all()
    assert ids[places].tolist() == index.tolist()
    batches, places = rows.to_score(index, 256, by_length=False)
    assert next(batches).row_ids[places].tolist() == index.tolist()
