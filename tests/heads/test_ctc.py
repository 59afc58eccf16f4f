"""The head ctc: its search, and models of before whose search had fewer numbers."""

from __future__ import annotations

import torch
from torch import nn

from mmcli.heads.ctc import Config, Ctc
from mmcli.models import loading
from mmcli.tasks.text import Config as TextConfig
from mmcli.tasks.text import Text
from mmcli.text.lattice import Lattices, Search


def test_a_search_of_five_numbers_is_one_that_shuns_no_word() -> None:
    task = Text.fit(TextConfig(), [("a dog ran",), ("a cat sat",)], ["text"])

    def build() -> nn.Module:
        return nn.ModuleDict({"head": Ctc(Config(), task, 4)})

    state = build().state_dict()
    before = {**state, "head.search": torch.tensor([8.0, 0.5, 1.0, 2.0, -1.0])}
    network = build()
    network.load_state_dict(loading.fits(build, before))
    assert Search.from_tensor(network["head"].search) == Search(8, 0.5, 1.0, 2.0, -1.0, 0.0)  # type: ignore[index]
    now = {**state, "head.search": Search(4, 0.25, 0.5, 1.0, 2.0, 3.0).tensor()}
    assert torch.equal(loading.fits(build, now)["head.search"], now["head.search"])


def test_outputs_of_such_a_model_are_averaged_with_those_of_now() -> None:
    kind, values = Lattices(), torch.randn(6, 4).log_softmax(-1)
    saved = {"outputs.log_probs": values, "outputs.offsets": torch.tensor([0, 3, 6])}
    old = kind.load({**saved, "outputs.search": torch.tensor([8.0, 0.5, 1.0, 2.0, -1.0])})
    new = kind.load({**saved, "outputs.search": Search(8, 0.5, 1.0, 2.0, -1.0).tensor()})
    assert Search.of(kind.mean([old, new], torch.tensor([0.5, 0.5]))) == Search(8, 0.5, 1.0, 2.0, -1.0)
