"""A device that is not there, to find out without a GPU what lies where: its tensors are kept in the host's memory by another
device's name, and to compute with one of them and one of the host fails, as it does on a GPU.

    pytest -p tests.away             # every test that runs in this process computes there

It is told by torch's dispatcher: each operation on such tensors comes to `computed`. What reads memory by its address cannot be
had so, nor what branches on `device.type == "cuda"`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils import _python_dispatch as dispatching
from torch.utils._pytree import tree_leaves, tree_map_only

from mmcli.training import device

DEVICE = torch.device("lazy", 0)
"""A name that torch has and that needs no library to be said."""
BETWEEN = {"copy_", "_to_copy", "_local_scalar_dense", "lift_fresh"}
"""What reads one device and writes another."""
PACKED = {"_pack_padded_sequence", "_pad_packed_sequence"}
"""What gives lengths on the host beside numbers on the device."""
LENGTHS_ON_HOST = PACKED | {"_pack_padded_sequence_backward", "gru", "lstm"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
"""Rows of what is on a device may be named by numbers on the host."""


class Away(Tensor):
    """A tensor of the device."""

    own: Tensor
    """Its numbers, on the host."""

    @staticmethod
    def __new__(cls, own: Tensor) -> Away:
        made: Away = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            own.shape,
            strides=own.stride(),
            storage_offset=own.storage_offset(),
            dtype=own.dtype,
            layout=own.layout,
            device=DEVICE,
        )
        made.own = own
        return made

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return computed(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            with torch.no_grad():
                made: Tensor = Away(self.own.clone())
            is_parameter = isinstance(self, torch.nn.Parameter)
            memo[id(self)] = torch.nn.Parameter(made, self.requires_grad) if is_parameter else made
        copied: Tensor = memo[id(self)]
        return copied

    def __repr__(self, **_: Any) -> str:
        return f"Away({self.own!r})"

    def __getitem__(self, index: Any) -> Tensor:
        """A list of places is made a tensor, which torch itself does past what it dispatches."""
        parts = index if isinstance(index, tuple) else (index,)
        found: Tensor = super().__getitem__(tuple(torch.tensor(own) if isinstance(own, list) else own for own in parts))
        return found

    def tolist(self) -> Any:
        return self.own.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("a tensor of the device is not to be had as numpy")

    __array__ = numpy  # type: ignore[assignment]


class Somewhere(dispatching.TorchDispatchMode):
    """While it is entered, the device is there, for this thread."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        named = kwargs.get("device")
        if (named is not None and torch.device(named).type == DEVICE.type) or away(args, kwargs):
            return computed(func, args, kwargs)
        return func(*args, **kwargs)


def away(*given: Any) -> list[Tensor]:
    """Those of the device."""
    return [own for own in tree_leaves(given) if isinstance(own, Away)]


def computed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What an operation gives, on the device that it would be on.

    Raises:
        RuntimeError: some of what it takes is on the device, some on the host.
    """
    name = func._overloadpacket.__name__
    named, there = kwargs.get("device"), bool(away(args, kwargs))
    if there and name not in BETWEEN | LENGTHS_ON_HOST:
        _refuse_mixed(name, args, kwargs)
    given, options = tree_map_only(Away, lambda own: own.own, (tuple(args), dict(kwargs)))
    if named is not None:
        options["device"] = torch.device("cpu")
        options.pop("pin_memory", None)
        there = torch.device(named).type == DEVICE.type
    made = func(*given, **options)
    if name == "copy_":
        return args[0]
    if name == "_local_scalar_dense" or not there:
        return made
    if name in PACKED:
        return Away(made[0]), made[1]
    made = tree_map_only(Tensor, Away, made)
    return dispatching.return_and_correct_aliasing(func, args, dict(kwargs), made) if away(args, kwargs) else made


def _refuse_mixed(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    looked_at = [args[0], *args[2:3]] if name in INDEXED and isinstance(args[0], Away) else [args, kwargs]
    others = [own for own in tree_leaves(looked_at) if isinstance(own, Tensor) and not isinstance(own, Away)]
    if name in INDEXED and not isinstance(args[0], Away):
        others.append(args[0])
    if any(own.dim() or own is args[0] for own in others):  # a single number may come from the host
        raise RuntimeError(f"Expected all tensors to be on the same device: {name} of some on the host, some away")


@contextlib.contextmanager
def chosen() -> Iterator[None]:
    """The device is there, for threads that start meanwhile too, and is what `auto` and `cuda` mean."""
    before = device._device, threading.Thread.run, torch.tensor, torch.is_autocast_enabled
    plain_device, plain_run, plain_tensor, plain_enabled = before

    def run(self: threading.Thread) -> None:
        with Somewhere():
            plain_run(self)

    def found(name: str) -> torch.device:
        return DEVICE if name in ("auto", "cuda") else plain_device(name)

    def tensor(*given: Any, device: Any = None, **options: Any) -> Tensor:
        made = plain_tensor(*given, **options)
        return made if device is None else made.to(device)  # torch itself does that past what it dispatches

    def enabled(name: str = "cpu") -> bool:
        return name != DEVICE.type and plain_enabled(name)

    def put(*own: Any) -> None:
        device._device, threading.Thread.run, torch.tensor, torch.is_autocast_enabled = own  # type: ignore[method-assign]

    put(found, run, tensor, enabled)
    try:
        with Somewhere():
            yield
    finally:
        put(*before)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Iterator[Any]:
    """As a plugin: around each test."""
    with chosen():
        return (yield)
