"""The frozen part of a network run once: what its last frozen block gives is kept, and is put in there in every step.

Knows networks as modules with blocks in order; nothing of encoders, columns or training. All else of the network runs as ever,
on stand-ins for the rows, so that masks and places are made as it makes them; its frozen blocks alone do nothing but give what
was kept. Whether a network may be cut so is not told by its shape but tried: see `Splice.agrees`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmcli.pretrained.weights import blocks

T = TypeVar("T")
TOLERANCE = 1e-4
"""Most that an output or a gradient may differ, of its largest number, where nothing is rounded."""
FLOOR = 1e-6
"""The same of gradients that are nothing but rounding, of the largest number of all."""
LEVEL = 1e-2
"""The same of outputs, where what is kept is in float16."""
Run = Callable[[], Sequence[Tensor]]
"""Runs the network on some rows; gives tensors [B, ...]."""


class _CapturedError(Exception):
    """The last frozen block has given what is to be kept."""


@dataclass(frozen=True)
class Cut:
    """Where a network is cut, as a trial told: another of the same weights is cut so without one."""

    frozen: tuple[str, ...]
    dtype: torch.dtype
    shape: tuple[int, ...]
    parts: int


class Splice:
    """A network whose first blocks do not train."""

    def __init__(self, body: nn.Module, frozen: Sequence[str]) -> None:
        self.body = body
        self.names = tuple(frozen)
        self.frozen = [body.get_submodule(name) for name in frozen]
        self.dtype = torch.float16
        """In which states are kept."""
        self.shape: tuple[int, ...] = ()
        """Of the states of a row of those that were last looked at."""
        self._states: Tensor | None = None
        self._forwards: list[Any] = []
        self._parts = 0
        """How many a frozen block gives, the states being the first of them; 0: the states alone."""

    @property
    def cut(self) -> Cut:
        return Cut(self.names, self.dtype, self.shape, self._parts)

    @classmethod
    def again(cls, body: nn.Module, cut: Cut) -> Splice:
        """Put in as another was, which was tried."""
        own = cls(body, cut.frozen)
        own.dtype, own.shape, own._parts = cut.dtype, cut.shape, cut.parts
        own.put_in()
        return own

    @classmethod
    def made(cls, body: nn.Module, whole: Run, blank: Run, kept: Callable[[Tensor], Tensor]) -> Splice | None:
        """That of a network in evaluation, put in, tried on a few rows; None where it cannot be cut.

        `whole` runs it on them, `blank` on what stands in for them; `kept` is what is kept of their states [B, ...].
        """
        order = blocks(body)
        trains = [any(parameter.requires_grad for parameter in body.get_submodule(name).parameters()) for name in order]
        first = trains.index(True) if any(trains) else 0
        if not first or not all(trains[first:]):
            return None
        parent = order[first - 1].rpartition(".")[0]
        of_its_list = [name for name in order[:first] if name.rpartition(".")[0] == parent]
        for names in dict.fromkeys((tuple(order[:first]), tuple(of_its_list))):
            own = cls(body, names)
            try:
                if own.agrees(whole, blank, kept(own.capture(whole))):
                    return own
            except (RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError):
                pass  # it wants of its blocks what they do not give here
            own.take_out()
        return None

    def capture(self, whole: Run) -> Tensor:
        """What the last frozen block gives, float32 [B, ...], of the rows that `whole` runs on, which ends there.

        Raises:
            ValueError: it never comes to that block, or that gives no tensor.
        """
        found: list[Any] = []

        def keep(_: nn.Module, __: Any, given: Any) -> None:
            found.append(given)
            raise _CapturedError

        hook = self.frozen[-1].register_forward_hook(keep)
        try:
            with torch.no_grad():
                whole()
        except _CapturedError:
            pass
        finally:
            hook.remove()
        several = found and isinstance(found[0], tuple)
        states = found[0][0] if several else found[0] if found else None
        if not isinstance(states, Tensor):
            raise ValueError("its last frozen block gives no tensor")
        self._parts = len(found[0]) if several else 0
        self.shape = tuple(states.shape[1:])
        return states.float()

    def put_in(self) -> None:
        """From here on the frozen blocks give what `fed` is told."""
        self._forwards = [block.__dict__.get("forward") for block in self.frozen]
        for block in self.frozen:
            block.forward = self._give

    def take_out(self) -> None:
        """They compute again."""
        for block, forward in zip(self.frozen, self._forwards, strict=False):
            if forward is None:
                block.__dict__.pop("forward", None)
            else:
                block.forward = forward
        self._forwards = []

    def fed(self, states: Tensor, run: Callable[[], T]) -> T:
        """What `run` gives, which runs the network on as many rows as these states [B, ...] are of: its frozen blocks give
        them."""
        self._states = states.float()
        try:
            return run()
        finally:
            self._states = None

    def _give(self, *_: Any, **__: Any) -> Any:
        return (self._states, *[None] * (self._parts - 1)) if self._parts else self._states

    def agrees(self, whole: Run, blank: Run, states: Tensor) -> bool:
        """Whether from the states come the outputs, and the gradients of all that trains, that come of the whole network; if so
        it is left put in, and `dtype` is float16 where outputs hardly differ then."""
        trained = [parameter for parameter in self.body.parameters() if parameter.requires_grad]
        expected, steepness = _with_gradients(whole, trained)
        self.put_in()
        found, own = self.fed(states, lambda: _with_gradients(blank, trained))
        if not (_near(found, expected, TOLERANCE) and _as_steep(own, steepness)):
            return False
        with torch.no_grad():
            rounded = self.fed(states.half(), lambda: _numbers(blank))
        level = bool(states.half().isfinite().all()) and _near(rounded, expected, LEVEL)
        self.dtype = torch.float16 if level else torch.float32
        return True


def _with_gradients(run: Run, parameters: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor | None]]:
    """What it gives, and the gradients of the mean of its squares, None where none reaches a parameter."""
    with torch.enable_grad():
        given = _numbers(run)
        loss = torch.stack([tensor.square().mean() + tensor.flatten(1)[:, ::2].mean() for tensor in given]).sum()
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [tensor.detach() for tensor in given], list(found)


def _numbers(run: Run) -> list[Tensor]:
    """What it gives, masks left out."""
    return [tensor.float() for tensor in run() if tensor.is_floating_point()]


def _near(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float, floor: float = 0.0) -> bool:
    """Whether each tensor differs by no more than that share of its largest number, or `floor`."""
    if [own.shape for own in found] != [own.shape for own in expected]:
        return False
    pairs = [(own, other) for own, other in zip(found, expected, strict=True) if own.numel()]
    return all(float((own - other).abs().max()) <= max(tolerance * float(other.abs().max()), floor) for own, other in pairs)


def _as_steep(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> bool:
    """Whether the same parameters are reached, each by the gradient that it has in the whole network: one that works through
    frozen blocks too would train otherwise, or never."""
    if [own is None for own in found] != [own is None for own in expected]:
        return False
    reached = [own for own in expected if own is not None]
    largest = max((float(own.abs().max()) for own in reached if own.numel()), default=0.0)
    return _near([own for own in found if own is not None], reached, TOLERANCE, FLOOR * largest)
