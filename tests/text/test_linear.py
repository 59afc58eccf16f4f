"""A linear reader of frames: it learns what single frames say, the same each time, and nothing of a lack of steps is hidden."""

from __future__ import annotations

import torch

from mmcli.signals import Column
from mmcli.text import ctc, lattice, linear

UNITS = 3


def spoken(rows: int, frames_a_unit: int, generator: torch.Generator) -> tuple[Column, torch.Tensor]:
    """Each unit is a run of frames in which one of five bands is loud; a quiet run follows each."""
    targets = torch.full((rows, 4), -1)
    pieces, lengths = [], []
    for row in range(rows):
        count = int(torch.randint(2, 5, (1,), generator=generator))
        ids = torch.randint(1, UNITS + 1, (count,), generator=generator)
        targets[row, :count] = ids
        for unit in ids.tolist():
            loud = torch.zeros(frames_a_unit, 5)
            loud[:, unit] = 2.0
            pieces += [loud, torch.zeros(frames_a_unit, 5)]
        lengths.append(2 * frames_a_unit * count)
    values = torch.cat(pieces) + 0.3 * torch.randn(sum(lengths), 5, generator=generator)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    return Column(values, torch.ones(rows, dtype=torch.bool), offsets), targets


def read(source: Column, targets: torch.Tensor) -> Column:
    rows = torch.arange(len(source))
    return linear.lattices(source, targets, rows[:60], rows[60:80], UNITS + 1)


def test_it_reads_what_frames_say_in_rows_that_it_has_not_seen() -> None:
    source, targets = spoken(100, 8, torch.Generator().manual_seed(0))
    found = read(source, targets)
    assert found.lengths is not None and source.lengths is not None
    assert torch.equal(found.lengths, -(-source.lengths // 4))
    torch.testing.assert_close(found.values.exp().sum(1), torch.ones(len(found.values)))
    values, lengths = lattice.padded(found.select(torch.arange(80, 100)))
    right = [[unit for unit in row if unit >= 0] for row in targets[80:].tolist()]
    assert sum(one == other for one, other in zip(ctc.greedy(values, lengths), right, strict=True)) >= 18
    again = read(source, targets)
    assert torch.equal(found.values, again.values)


def test_steps_are_as_close_as_the_texts_need() -> None:
    lengths = torch.tensor([40, 40, 40])
    targets = torch.tensor([[1, 2] * 4, [1, 2] * 4, [1, 1] * 4])  # the last needs a blank between its units: 15 steps
    assert linear._stride(lengths[:2], targets[:2]) == 4  # 10 steps for 8 units
    assert linear._stride(lengths, targets) == 2
    assert linear._stride(torch.tensor([3]), torch.tensor([[1, 2, 3, 1, 2]])) == 1  # whatever can be had


def test_an_absent_recording_is_one_step() -> None:
    source = Column(torch.randn(12, 5), torch.tensor([True, False]), torch.tensor([0, 12, 12]))
    found = linear._read(source, torch.tensor([0, 1]), torch.zeros(5 * linear.STACK + 1, 4), 4)
    assert found.lengths is not None and found.lengths.tolist() == [3, 1]
