"""A kind of outputs: what networks answer to rows, and what is done with answers whatever they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

OUTPUTS = "outputs"
"""What files of tensors call them."""


class Outputs(ABC):
    """A kind of outputs of B or N rows. Each method takes and gives outputs as the heads of such tasks give them."""

    words: ClassVar[str]
    """What they are, in the plural."""
    decides: ClassVar[bool] = False
    """Whether they are vectors of numbers that decide: classes, labels, amounts."""

    @abstractmethod
    def rows(self, outputs: Any) -> int:
        """Of how many rows they are."""

    @abstractmethod
    def gather(self, outputs: Any, index: Tensor) -> Any:
        """Those of the rows `index` [B]."""

    @abstractmethod
    def join(self, parts: Sequence[Any]) -> Any:
        """Those of consecutive batches as one."""

    @abstractmethod
    def mean(self, each: Sequence[Any], shares: Tensor) -> Any:
        """One answer from those of several models for the same rows, each with its share [K]; the shares sum to one."""

    @abstractmethod
    def plain(self, outputs: Any) -> Any:
        """As they are kept: without a gradient, numbers in float32."""

    @abstractmethod
    def to(self, outputs: Any, device: torch.device) -> Any:
        """On that device."""

    @abstractmethod
    def save(self, outputs: Any, name: str = OUTPUTS) -> dict[str, Tensor]:
        """As tensors for a file, each called `name` or `name.` and more."""

    @abstractmethod
    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Any:
        """The reverse of `save`: what a file holds under that name."""

    def tempered(self, outputs: Any, temperature: Tensor) -> Any:  # noqa: ARG002 - for those that have probabilities
        """With their probabilities flattened by a temperature, where they have some."""
        return outputs

    def glimpse(self, outputs: Any) -> Any:
        """As they are scored while training goes on: of answers that take a search, a cheap one."""
        return outputs

    def answered(self, outputs: Any) -> Any:
        """With all done that an answer takes, where they leave some of it until it is asked for."""
        return outputs
