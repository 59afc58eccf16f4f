"""What parameters begin with: numbers drawn at random, or nothing where trained ones are to be put in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS: ContextVar[bool] = ContextVar("_DRAWS", default=True)


@contextmanager
def unfilled() -> Iterator[None]:
    """Nothing is drawn meanwhile: for networks whose every tensor is loaded next, or of which the shapes alone are asked."""
    before = _DRAWS.set(False)
    try:
        yield
    finally:
        _DRAWS.reset(before)


@contextmanager
def shapes_alone() -> Iterator[None]:
    """What is built meanwhile has shapes and no numbers (device meta), and nothing is drawn."""
    with torch.device("meta"), unfilled(), _Undrawn():
        yield


class _Undrawn(TorchFunctionMode):
    """Of tensors without numbers none are drawn: torch imports its compiler for that, which takes longer than all else here."""

    draws = frozenset({nn.init.normal_, nn.init.trunc_normal_, torch.Tensor.normal_})

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self.draws:
            tensor: Tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


def drawn(*shape: int, std: float = 1.0) -> Tensor:
    """Normally distributed numbers about 0, float32 of that shape; zeros in `unfilled`, which cost nothing until they are
    written."""
    if not _DRAWS.get():
        return torch.zeros(*shape)
    return torch.randn(*shape) if std == 1.0 else torch.randn(*shape) * std
