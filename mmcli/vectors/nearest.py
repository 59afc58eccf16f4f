"""The most alike of many unit vectors: exact, block by block, in bounded memory; of equal similarities the first rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmcli.vectors.eight import Kept

BLOCK_ROWS = 131_072
"""Kept rows that are compared at a time."""
BLOCK_QUERIES = 128
"""Queries that are compared at a time: with a block of rows they make 64 MiB of similarities."""
HELD = 1 << 30
"""Bytes that vectors may take in single precision; more are brought to it block by block, for each block of queries."""
GROUP = 128
"""Rows of which the most alike stands for all, until it is among the first."""
LOOKED_AT = 1 << 28
"""Bytes that the hits of the queries looked up together may take."""
MORE = 8
"""Rows beyond those asked for that are looked at once more, to double precision."""
NEAR = 4e-6
"""Similarities that single precision may confuse."""
DRAWN = 500
"""Rows by which recall is measured, drawn by a seed."""
RECALL_AT = 10


@dataclass(frozen=True)
class Hits:
    """The most alike rows of each of N queries, at most k."""

    rows: NDArray[np.int64]
    """[N, K]: the most alike first, of equals the first row; K is k, or all rows where there are fewer."""
    similarities: NDArray[np.float64]
    """[N, K]: cosines."""


class Nearest:
    """Kept unit vectors, to be searched."""

    def __init__(self, vectors_ND: Kept) -> None:
        """`vectors` [N, D] of any precision; they are brought to length one."""
        self._kept = vectors_ND
        small = vectors_ND.shape.numel() * 4 <= HELD
        self._blocks = [_units(own) for own in vectors_ND.split(BLOCK_ROWS)] if small else None

    def __len__(self) -> int:
        return len(self._kept)

    def blocks(self) -> Iterator[Tensor]:
        """float32 [at most BLOCK_ROWS, D] each, in order."""
        yield from self._blocks if self._blocks is not None else map(_units, self._kept.split(BLOCK_ROWS))

    def search(self, queries_QD: Tensor, k: int) -> Hits:
        """The `k` most alike of each query, brought to length one. What is found is as if every similarity were computed in
        double precision."""
        queries = _units(queries_QD)
        found = [self._of_some(own, k) for own in queries.split(self.at_once(k))]
        most = min(k, len(self))
        rows = [own.rows for own in found] or [np.empty((0, most), np.int64)]
        return Hits(np.concatenate(rows), np.concatenate([own.similarities for own in found] or [np.empty((0, most))]))

    def at_once(self, k: int) -> int:
        """Queries that are looked up together, so that their `k` hits in double precision stay within `LOOKED_AT` bytes."""
        width = self._kept.shape[1] if len(self._kept.shape) > 1 else 1
        return max(1, min(BLOCK_QUERIES, LOOKED_AT // (20 * max(width, 1) * (min(k, len(self)) + MORE))))

    def _of_some(self, queries: Tensor, k: int) -> Hits:
        first, best = 0, Hits(np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0)))
        for block in self.blocks():
            best = _merged(best, of_block(queries, block, k), first, k)
            first += len(block)
        return best

    def similarities(self, queries_QD: Tensor, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """[Q, K], in double precision, of rows [Q, K] that something else has found."""
        return _exact(_units(queries_QD), _units(self._kept[torch.from_numpy(rows)]))


def recall(kept: Nearest, search: Callable[[Tensor, int], Hits], vectors_ND: Kept, seed: int = 0) -> float:
    """Of the ten rows most alike to a row, itself aside, the share that another search finds: a mean over some of the rows,
    whose vectors are given. Rows that are as alike as the tenth count as found."""
    drawn = torch.randperm(len(vectors_ND), generator=torch.Generator().manual_seed(seed))[:DRAWN]
    queries, most = vectors_ND[drawn].float(), min(RECALL_AT + 1, len(kept))
    if most < 2:
        return 1.0
    exact, alike = kept.search(queries, most), kept.similarities(queries, search(queries, most).rows)
    enough = alike >= exact.similarities[:, -1:] - 1e-9
    return float((enough.sum(1) - 1).clip(0).mean() / (most - 1))


def of_block(queries: Tensor, block: Tensor, k: int) -> Hits:
    """The `k` most alike rows of one block of float32 unit vectors."""
    alike, most = queries @ block.T, min(k, len(block))
    if not len(queries) or not most:
        return Hits(np.empty((len(queries), most), np.int64), np.empty((len(queries), most)))
    values, places = _highest(alike, min(most + MORE, len(block)))
    rows, exact = places.numpy(), _exact(queries, block[places])
    order = np.lexsort((rows, -exact), axis=1)[:, :most]
    rows, exact = np.take_along_axis(rows, order, 1), np.take_along_axis(exact, order, 1)
    if values.shape[1] < len(block):  # a row that was left out may be as alike as the last that is in
        close = values[:, -1] >= values[:, most - 1] - NEAR
        for query in close.nonzero()[:, 0].tolist():
            own = (alike[query] >= values[query, most - 1] - NEAR).nonzero()[:, 0]
            again = _exact(queries[query : query + 1], block[own][None])[0]
            first = np.lexsort((own.numpy(), -again))[:most]
            rows[query], exact[query] = own.numpy()[first], again[first]
    return Hits(rows, exact)


def _highest(alike: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The `most` highest of each line and their places: by groups, since those that hold them are few."""
    groups = alike.shape[1] // GROUP
    if groups < 2 * most:
        return alike.topk(most, 1)
    head = alike[:, : groups * GROUP].unflatten(1, (groups, GROUP))
    chosen = head.amax(2).topk(most, 1).indices
    values = head.gather(1, chosen[:, :, None].expand(-1, -1, GROUP)).flatten(1)
    places = (chosen[:, :, None] * GROUP + torch.arange(GROUP)).flatten(1)
    tail = torch.arange(groups * GROUP, alike.shape[1]).expand(len(alike), -1)
    values, places = torch.cat([values, alike[:, groups * GROUP :]], 1), torch.cat([places, tail], 1)
    highest = values.topk(most, 1)
    return highest.values, places.gather(1, highest.indices)


def _merged(one: Hits, other: Hits, first: int, k: int) -> Hits:
    """Of hits and of those of rows that come after them, counted from `first`, the `k` most alike."""
    rows = np.concatenate([one.rows, other.rows + first], 1)
    similarities = np.concatenate([one.similarities, other.similarities], 1)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return Hits(np.take_along_axis(rows, order, 1), np.take_along_axis(similarities, order, 1))


def _exact(queries_QD: Tensor, rows_QKD: Tensor) -> NDArray[np.float64]:
    """Cosines in double precision: of equal rows they are equal."""
    products = rows_QKD.double().numpy() * queries_QD.double().numpy()[:, None]
    found: NDArray[np.float64] = products.sum(2)
    return found


def _units(vectors: Kept) -> Tensor:
    return torch.nn.functional.normalize(vectors.float(), dim=-1)
