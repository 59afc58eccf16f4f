"""Layers that make probabilities mean what they say, fitted to the outputs for val rows; where one number (a temperature) does
not do. Graphs can hold them: they are sums of clipped lines, no search. And the layer in the same place, behind the outputs, by
which vectors to compare have fewer numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.layers.optimizers import LBFGS
from mmcli.tasks import Task
from mmcli.vectors.narrowed import Narrowed

KNOTS = 32
"""Most corners of an isotonic curve."""
LEAST = 1e-4
"""Least probability that an isotonic curve leaves a class: one that val never showed may still come."""
LOWEST, HIGHEST, STEPS = 0.05, 20.0, 200
"""The temperatures that outputs may have, and how many are tried."""


class Vector(nn.Module):
    """Vector scaling (Guo et al. 2017): each class's output has a scale and a shift of its own. outputs [B, C] -> [B, C]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.ones(classes))
        self.register_buffer("shift", torch.zeros(classes))

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs * self.scale + self.shift

    @classmethod
    def fitted(cls, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Vector:
        """The scales and shifts of least cross-entropy, held near a common temperature by a small penalty."""
        made = cls(outputs.shape[1])
        outputs = outputs.double()
        scale = torch.ones(outputs.shape[1], dtype=torch.float64, requires_grad=True)
        shift = torch.zeros(outputs.shape[1], dtype=torch.float64, requires_grad=True)
        optimizer = LBFGS([scale, shift], max_iter=100, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = _cross_entropy(outputs * scale + shift, targets, weights)
            loss = loss + 1e-2 * ((scale - scale.mean()).square().mean() + shift.square().mean())
            loss.backward()
            return loss

        with torch.enable_grad():
            optimizer.step(closure)
        if bool(torch.isfinite(scale).all() and torch.isfinite(shift).all()) and bool((scale > 0).all()):
            made.scale.copy_(scale.detach())
            made.shift.copy_(shift.detach())
        return made


class Isotonic(nn.Module):
    """Each class's probability through a rising curve of its own (Zadrozny and Elkan 2002), then made to sum to one.

    A curve is y_0 + sum_k slope_k clip(p - x_k, 0, x_{k+1} - x_k).
    """

    def __init__(self, classes: int, knots: int) -> None:
        super().__init__()
        self.starts: Tensor
        self.widths: Tensor
        self.slopes: Tensor
        self.floors: Tensor
        for name in ("starts", "widths", "slopes"):
            self.register_buffer(name, torch.zeros(classes, knots))
        self.register_buffer("floors", torch.zeros(classes))

    def forward(self, outputs: Tensor) -> Tensor:
        probabilities = outputs.float().softmax(1)[..., None]
        steps = torch.minimum((probabilities - self.starts).clamp(min=0.0), self.widths)
        risen = ((steps * self.slopes).sum(2) + self.floors).clamp(min=LEAST)
        return (risen / risen.sum(1, keepdim=True)).log()

    @classmethod
    def fitted(cls, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Isotonic:
        """By scikit-learn, one class against the rest."""
        from sklearn.isotonic import IsotonicRegression

        probabilities = outputs.double().softmax(1).numpy()
        made = cls(outputs.shape[1], KNOTS)
        for c in range(outputs.shape[1]):
            curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
            own = None if weights is None else weights.double().numpy()
            curve.fit(probabilities[:, c], (targets == c).double().numpy(), sample_weight=own)
            x, y = np.asarray(curve.X_thresholds_), np.asarray(curve.y_thresholds_)
            if len(x) > KNOTS + 1:
                kept = np.unique(np.linspace(0, len(x) - 1, KNOTS + 1).round().astype(int))
                x, y = x[kept], y[kept]
            width = np.diff(x)
            slope = np.divide(np.diff(y), width, out=np.zeros_like(width), where=width > 0)
            made.starts[c, : len(width)] = torch.from_numpy(x[:-1])
            made.widths[c, : len(width)] = torch.from_numpy(width)
            made.slopes[c, : len(width)] = torch.from_numpy(slope)
            made.floors[c] = float(y[0])
        return made


def temperature(
    outputs: Tensor,
    targets: Tensor,
    task: Task,
    before: float = 1.0,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
) -> float:
    """The factor by which the temperature that outputs were made at, `before`, is to be multiplied for the least `log_loss`
    on val (Guo et al. 2017): 1 where none is better. What it becomes lies within `lowest` and `highest`."""
    low, high = lowest / before, highest / before
    grid = torch.logspace(math.log10(low), math.log10(high), STEPS)
    factors = [*([1.0] if low <= 1 <= high else []), *grid.tolist()]
    losses = [float(log_loss(outputs / factor, targets, task)) for factor in factors]
    return float(factors[losses.index(min(losses))])


def log_loss(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """That of probabilities, of classes or of labels, on targets softened by one row in all of them (after Platt 1999): val
    has been chosen on, and where all its rows are right, none should be certain. It can be differentiated."""
    right, weights = task.parted(targets)
    share = 1 / (len(right) + 2)
    if task.decision.link == "softmax":
        return _cross_entropy(outputs.double(), right, task.pressing(targets), share)
    logits, right = outputs[:, : task.decision.width].double(), right.double()
    softened = (1 - share) * right + share / 2
    losses = F.binary_cross_entropy_with_logits(logits, softened, weight=task.balance(right), reduction="none").mean(1)
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()


def _cross_entropy(outputs: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float = 0.0) -> Tensor:
    """The mean over the rows, each counting as `weights` [N] say, where there are some."""
    if weights is None:
        return F.cross_entropy(outputs, targets, label_smoothing=smoothing)
    losses = F.cross_entropy(outputs, targets, reduction="none", label_smoothing=smoothing)
    return (losses * weights).sum() / weights.sum()


KINDS: dict[str, Any] = {"vector": Vector, "isotonic": Isotonic}
"""Those that are fitted to outputs for val rows."""
LAYERS: dict[str, Any] = {**KINDS, "axes": Narrowed}


def build(kind: str, shape: Sequence[int]) -> nn.Module:
    """A layer of that kind and shape, to be filled with what was fitted; the identity where there is none."""
    made: nn.Module = LAYERS[kind](*shape) if kind else nn.Identity()
    return made


def described(layer: nn.Module) -> tuple[str, tuple[int, ...]]:
    """The reverse of `build`."""
    if isinstance(layer, Vector):
        return "vector", tuple(layer.scale.shape)
    if isinstance(layer, Narrowed):
        return "axes", layer.shape
    return ("isotonic", tuple(layer.starts.shape)) if isinstance(layer, Isotonic) else ("", ())
