"""Answers in words, of either kind: lattices that say them step by step, and writings that networks are to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmcli.signals import OUTPUTS, Outputs
from mmcli.text.lattice import Lattices
from mmcli.text.writing import Writing, Writings


class Texts(Outputs):
    """Lattices or writings: each does as those of its kind do."""

    words = "texts"

    def rows(self, outputs: Any) -> int:
        return _kind(outputs).rows(outputs)

    def gather(self, outputs: Any, index: Tensor) -> Any:
        return _kind(outputs).gather(outputs, index)

    def join(self, parts: Sequence[Any]) -> Any:
        return _kind(parts[0]).join(parts)

    def mean(self, each: Sequence[Any], shares: Tensor) -> Any:
        """That of those whose kind has the larger share: steps and memories have no mean."""
        total = {kind: sum(float(shares[k]) for k, own in enumerate(each) if _kind(own) is kind) for kind in map(_kind, each)}
        if len(total) == 1:
            return _kind(each[0]).mean(each, shares)
        kind = max(total, key=lambda own: total[own])
        places = [k for k, own in enumerate(each) if _kind(own) is kind]
        return kind.mean([each[k] for k in places], shares[places] / total[kind])

    def plain(self, outputs: Any) -> Any:
        return _kind(outputs).plain(outputs)

    def to(self, outputs: Any, device: torch.device) -> Any:
        return _kind(outputs).to(outputs, device)

    def save(self, outputs: Any, name: str = OUTPUTS) -> dict[str, Tensor]:
        return _kind(outputs).save(outputs, name)

    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Any:
        return (WRITINGS if f"{name}.search" in named else LATTICES).load(named, name)

    def tempered(self, outputs: Any, temperature: Tensor) -> Any:
        return _kind(outputs).tempered(outputs, temperature)

    def glimpse(self, outputs: Any) -> Any:
        return _kind(outputs).glimpse(outputs)

    def answered(self, outputs: Any) -> Any:
        return _kind(outputs).answered(outputs)


LATTICES, WRITINGS = Lattices(), Writings()


def _kind(outputs: Any) -> Outputs:
    return WRITINGS if isinstance(outputs, Writing) else LATTICES
