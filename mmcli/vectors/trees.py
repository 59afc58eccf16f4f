"""Boosted trees as tensors: where each node asks what, and where a row goes by the answer.

scikit-learn's histogram gradient boosting gives trees of a few dozen leaves; a row's raw decision is a bias and the sum of the
leaves that it falls into. Thresholds are kept as the largest float32 that is no larger, so that float32 numbers fall as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Forest:
    """Trees one after the other, their nodes numbered through."""

    feature: Array
    """int64 [M]: what each node looks at; 0 in leaves."""
    threshold: Array
    """float32 [M]: numbers up to it go left."""
    left: Array
    """int64 [M]: the node that follows; of leaves themselves."""
    right: Array
    astray: Array
    """bool [M]: whether a missing number goes left."""
    value: Array
    """float32 [M]: what a leaf adds; 0 in the others."""
    root: Array
    """int64 [T]: where each tree begins."""
    column: Array
    """int64 [T]: which decision it is of."""
    bias: Array
    """float32 [C]."""
    depth: int
    """Questions that a row is asked at most."""

    @classmethod
    def of(cls, models: Sequence[Any], columns: Sequence[Sequence[int]], bias: Array) -> Self:
        """The trees of fitted models, whose raw predictions are of these columns each, added to `bias` [C].

        Raises:
            ValueError: a tree tells categories apart, which numbers do not.
        """
        parts, roots, owners, total, depth = [], [], [], 0, 1
        bias = np.array(bias, dtype=np.float64)
        for model, places in zip(models, columns, strict=True):
            bias[list(places)] += np.ravel(model._baseline_prediction)
            for each in model._predictors:
                for place, predictor in zip(places, each, strict=True):
                    nodes = predictor.nodes
                    if nodes["is_categorical"].any():
                        raise ValueError("a tree tells categories apart")
                    parts.append((nodes, total))
                    roots.append(total)
                    owners.append(place)
                    total += len(nodes)
                    depth = max(depth, int(nodes["depth"].max()))
        root, column = np.array(roots), np.array(owners)
        return cls(**_nodes(parts), root=root, column=column, bias=bias.astype(np.float32), depth=depth)

    def decide(self, features: Array) -> Array:
        """float32 [N, C] of features [N, F], not a number where missing."""
        found = np.tile(self.bias, (len(features), 1))
        x, rows = features.astype(np.float32), np.arange(len(features))
        for root, column in zip(self.root, self.column, strict=True):
            node = np.full(len(x), root)
            for _ in range(self.depth):
                own = x[rows, self.feature[node]]
                goes = np.where(np.isnan(own), self.astray[node], own <= self.threshold[node])
                node = np.where(goes, self.left[node], self.right[node])
            found[:, column] += self.value[node]
        return found


def _nodes(parts: Sequence[tuple[Any, int]]) -> dict[str, Any]:
    """What a forest says of all nodes, of trees that begin at these numbers."""
    every = np.concatenate([nodes for nodes, _ in parts])
    start = np.concatenate([np.full(len(nodes), first) for nodes, first in parts])
    leaf, itself = every["is_leaf"].astype(bool), np.arange(len(every))
    exact = every["num_threshold"]
    threshold = exact.astype(np.float32)
    threshold = np.where(threshold > exact, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    return {
        "feature": np.where(leaf, 0, every["feature_idx"]).astype(np.int64),
        "threshold": np.where(leaf, 0, threshold).astype(np.float32),
        "left": np.where(leaf, itself, every["left"].astype(np.int64) + start),
        "right": np.where(leaf, itself, every["right"].astype(np.int64) + start),
        "astray": every["missing_go_to_left"].astype(bool),
        "value": np.where(leaf, every["value"], 0).astype(np.float32),
    }
