"""Vectors of decisions as answers: numbers for classes, labels or amounts, which are averaged and cooled as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmcli.signals import OUTPUTS, Outputs


class Numbers(Outputs):
    """Vectors of decisions: a float tensor [N, C]."""

    words = "numbers"
    decides = True

    def rows(self, outputs: Tensor) -> int:
        return len(outputs)

    def gather(self, outputs: Tensor, index: Tensor) -> Tensor:
        return outputs[index]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts))

    def mean(self, each: Sequence[Tensor], shares: Tensor) -> Tensor:
        return torch.einsum("k,kbn->bn", shares.to(each[0].dtype), torch.stack(list(each)))

    def plain(self, outputs: Tensor) -> Tensor:
        return outputs.detach().float()

    def to(self, outputs: Tensor, device: torch.device) -> Tensor:
        return outputs.to(device)

    def save(self, outputs: Tensor, name: str = OUTPUTS) -> dict[str, Tensor]:
        return {name: outputs}

    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Tensor:
        return named[name]

    def tempered(self, outputs: Tensor, temperature: Tensor) -> Tensor:
        return outputs / temperature


NUMBERS = Numbers()
