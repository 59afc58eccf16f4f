"""How dataclasses of tensors get to a device, and what the host still knows of them there.

To wait until a device has told what the host knew before costs more than most layers do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Host:
    """What the host holds besides of rows that lie on a device, so that nobody waits for the device to tell it."""

    present: Tensor
    """bool [B] or [N]."""
    lengths: Tensor | None = None
    """int64 of each row where ragged; else, or where they vary at random, None."""

    def select(self, index: Tensor) -> Host | None:
        """Of the rows `index`; None where these are not known on the host."""
        if index.device.type != "cpu":
            return None
        return Host(self.present[index], None if self.lengths is None else self.lengths[index])

    @staticmethod
    def joined(parts: Sequence[Host]) -> Host:
        """Of the rows of several batches, in order."""
        lengths = [own.lengths for own in parts if own.lengths is not None]
        together = torch.cat(lengths) if len(lengths) == len(parts) else None
        return Host(torch.cat([own.present for own in parts]), together)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A small tensor on the device; from the host by a copy for which nobody waits."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


class Movable:
    """Shared by dataclasses of tensors: what is done with all of them at once."""

    def to(self, device: torch.device) -> Self:
        """On that device."""
        return self._each(lambda value: value.to(device, non_blocking=True))

    def sent(self, device: torch.device) -> Self:
        """The same, of a batch: nobody waits for the copy."""
        return self._each(lambda value: sent(value, device))

    def used_in(self, stream: torch.cuda.Stream) -> None:
        """Says that the memory is read in a stream other than that in which it was got: it is not given away before."""
        for value in self._tensors().values():
            value.record_stream(stream)

    @property
    def nbytes(self) -> int:
        """Bytes of all the tensors."""
        return sum(value.numel() * value.element_size() for value in self._tensors().values())

    def _tensors(self) -> dict[str, Tensor]:
        own = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in own.items() if isinstance(value, Tensor)}

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(self, **{name: change(value) for name, value in self._tensors().items()})  # type: ignore[type-var]


class Held(Movable):
    """Rows of a whole table, which the host knows where they are once they are moved to a device."""

    present: Tensor
    offsets: Tensor | None
    host: Host | None

    def to(self, device: torch.device) -> Self:
        """On that device."""
        moved = super().to(device)
        if device.type == "cpu" or self.present.device.type != "cpu":
            return moved
        known = Host(self.present, None if self.offsets is None else self.offsets.diff())
        return replace(moved, host=known)  # type: ignore[type-var]
