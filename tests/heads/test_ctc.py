"""The head ctc: its search, and models of before whose search had fewer numbers."""

from __future__ import annotations

import torch

from mmcli.heads.ctc import Config, Ctc
from mmcli.tasks.text import Config as TextConfig
from mmcli.tasks.text import Text
from mmcli.text.lattice import Search


def test_a_search_of_five_numbers_is_one_that_shuns_no_word() -> None:
    task = Text.fit(TextConfig(), [["a dog ran"], ["a cat sat"]], ["text"])
    head = Ctc(Config(), task, 4)
    state = {**head.state_dict(), "search": torch.tensor([8.0, 0.5, 1.0, 2.0, -1.0])}
    head.load_state_dict(state)
    assert Search.from_tensor(head.search) == Search(8, 0.5, 1.0, 2.0, -1.0, 0.0)
    head.load_state_dict({**state, "search": Search(4, 0.25, 0.5, 1.0, 2.0, 3.0).tensor()})
    assert Search.from_tensor(head.search) == Search(4, 0.25, 0.5, 1.0, 2.0, 3.0)
