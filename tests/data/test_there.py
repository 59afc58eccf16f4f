"""Files that are not there, told from cells that name none."""

from __future__ import annotations

import pytest

from mmcli import registry
from mmcli.data.there import FilesThere
from mmcli.errors import DataError
from mmcli.modalities import Reject


def test_cells_that_name_no_file_are_not_counted_as_missing_ones() -> None:
    vector = registry.load("modalities", "vector")
    cells = ["[1, 2]", "gone.npy", "[3]"]
    found = FilesThere("probe")
    found.count(cells, cells, [Reject(place, cell, "why") for place, cell in enumerate(cells)], vector)
    assert (found.named, found.missing) == (1, 1)
    with pytest.raises(DataError, match=r"column 'probe': 1 of 1 files is not there; first: gone.npy \(why\)"):
        found.check(at_end=True)
    lists = FilesThere("probe")
    lists.count(cells[::2], cells[::2], [Reject(0, cells[0], "why")], vector)
    lists.check(at_end=True)
