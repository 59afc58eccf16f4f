"""How weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn

from mmcli.layers.blocks import lay_out


def test_convolutions_over_pictures_have_their_channels_last_and_those_over_clips_stay() -> None:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3), nn.Linear(4, 2))
    before = {name: tensor.clone() for name, tensor in layers.state_dict().items()}
    lay_out(layers)
    assert layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert layers[1].weight.is_contiguous()
    for name, tensor in layers.state_dict().items():
        assert torch.equal(tensor, before[name])
    lay_out(layers, channels_last=False)
    assert layers[0].weight.is_contiguous()
