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
    rows = Rows({"a": column, "b": column}, torch.arange(4), {}, {"a": lambda s: Signal(s.values * 2, s.present)})
    index = torch.tensor([3, 1])
    assert rows.varied(rows.gather(index)).inputs["a"].values.unique().tolist() == [2]
    assert rows.varied(rows.gather(index)).inputs["b"].values.unique().tolist() == [1]
    assert rows.gather(index).inputs["a"].values.unique().tolist() == [1]
    assert rows.gather(index).targets.tolist() == [3, 1]
    assert [batch.row_ids.tolist() for batch in rows.in_order(torch.tensor([2, 0, 3]), 2)] == [[2, 0], [3]]
