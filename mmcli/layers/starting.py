"""What parameters begin with: numbers drawn at random, or nothing where trained ones are to be put in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_DRAWS: ContextVar[bool] = ContextVar("_DRAWS", default=True)


@contextmanager
def unfilled() -> Iterator[None]:
    """Nothing is drawn meanwhile: for networks whose every tensor is loaded next, or of which the shapes alone are asked."""
    before = _DRAWS.set(False)
    try:
        yield
    finally:
        _DRAWS.reset(before)


def drawn(*shape: int, std: float = 1.0) -> Tensor:
    """Normally distributed numbers about 0, float32 of that shape; zeros in `unfilled`, which cost nothing until they are
    written."""
    if not _DRAWS.get():
        return torch.zeros(*shape)
    return torch.randn(*shape) if std == 1.0 else torch.randn(*shape) * std
