"""An encoder among columns that belong together: it learns from what is plain of the others, brought into one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmcli.encoders import Encoder
from mmcli.fusions import Fusion
from mmcli.heads import Head
from mmcli.layers.blocks import lay_out
from mmcli.models.columns import joined
from mmcli.signals import Features, Signal


class TowerModel(nn.Module):
    """An encoder that one input reads, or several, beside plain features of the other inputs; what aligns them is not kept."""

    def __init__(self, encoder: Encoder, readers: Sequence[str], align: Fusion, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.readers = list(readers)
        self.align = align
        self.head = head
        lay_out(self)

    def kept(self) -> dict[str, Tensor]:
        """What goes to disk: the encoder, and its head once for each reader: the owner's as `head.`, those of the others as
        `heads.1.` and so on."""
        state = self.state_dict()
        found = {name: own for name, own in state.items() if name.startswith(("encoder.", "head."))}
        for place in range(1, len(self.readers)):
            found |= {f"heads.{place}.{name}": own.clone() for name, own in self.head.state_dict().items()}
        return found

    def features(self, inputs: Mapping[str, Any]) -> list[dict[str, Features]]:
        """Input -> features, of each member that the encoder has while it trains: those of the readers from the encoder, of all
        in one pass, as statistics of a batch want; those of the others as they are."""
        signals: list[Signal] = [inputs[name] for name in self.readers]
        together: Features = self.encoder(joined(signals) if len(signals) > 1 else signals[0])
        rows = len(signals[0].present)
        index = torch.arange(len(together.present), device=together.present.device).reshape(-1, len(self.readers), rows)
        others = {name: own.float() for name, own in inputs.items() if name not in self.readers}
        return [
            {**{name: together.gather(member[place]) for place, name in enumerate(self.readers)}, **others} for member in index
        ]
