"""An index over many unit vectors, which finds most of the most alike without looking at all (HNSW, Malkov 2016; by usearch,
the extra `index`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmcli.errors import MissingPackageError
from mmcli.vectors.eight import Kept
from mmcli.vectors.nearest import Hits, Nearest, recall

LINKS, ADDING, SEARCHING = 16, 128, 128
"""Links of a row; candidates that are followed while a row is added, and while one is sought."""


class Index:
    """Rows by their place, of unit vectors."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def of(cls, vectors_ND: Kept) -> Index:
        """Made anew. Which rows it misses may differ from time to time.

        Raises:
            MissingPackageError: usearch is not installed.
        """
        made = _empty(vectors_ND.shape[1])
        made.add(np.arange(len(vectors_ND)), vectors_ND.half().numpy())
        return cls(made)

    @classmethod
    def load(cls, path: Path, vectors_ND: Kept) -> Index:
        """That of a file, which must be one that this user made: the library trusts what stands in it.

        Raises:
            MissingPackageError: usearch is not installed.
            ValueError: it is not an index of such vectors.
        """
        made = _empty(vectors_ND.shape[1])
        made.load(str(path))
        if len(made) != len(vectors_ND) or made.ndim != vectors_ND.shape[1]:
            raise ValueError(f"an index of {len(made)} vectors of {made.ndim} numbers, not {list(vectors_ND.shape)}")
        return cls(made)

    def save(self, path: Path) -> None:
        """Writes it in usearch's own format."""
        self._index.save(str(path))

    def search(self, kept: Nearest, queries_QD: Tensor, k: int) -> Hits:
        """As `kept.search`, but for rows that it misses; where it finds fewer than `k`, all rows are looked at."""
        most = min(k, len(kept))
        if not len(queries_QD) or not most:
            return kept.search(queries_QD, k)
        if len(queries_QD) > kept.at_once(k):
            parts = [self.search(kept, own, k) for own in queries_QD.split(kept.at_once(k))]
            return Hits(np.concatenate([own.rows for own in parts]), np.concatenate([own.similarities for own in parts]))
        found = self._index.search(queries_QD.half().numpy(), most)
        rows: NDArray[np.int64] = np.asarray(found.keys).astype(np.int64).reshape(len(queries_QD), -1)
        counts = np.asarray(getattr(found, "counts", [len(found)]))
        if rows.shape[1] < most or counts.min() < most:
            return kept.search(queries_QD, k)
        alike = kept.similarities(queries_QD, rows)
        order = np.lexsort((rows, -alike), axis=1)
        return Hits(np.take_along_axis(rows, order, 1), np.take_along_axis(alike, order, 1))

    def recall(self, kept: Nearest, vectors_ND: Kept, seed: int = 0) -> float:
        """The share of the ten rows most alike to a row that is found: see `nearest.recall`."""
        return recall(kept, lambda queries, most: self.search(kept, queries, most), vectors_ND, seed)


def _empty(width: int) -> Any:
    try:
        from usearch.index import Index as Library
    except ImportError:
        raise MissingPackageError(
            "an index needs the package usearch, which is not installed",
            "Where mmcli was installed from: pip install '.[index]'; or go without it: no --index (enrol), --exact (search).",
        ) from None
    return Library(ndim=width, metric="ip", dtype="f16", connectivity=LINKS, expansion_add=ADDING, expansion_search=SEARCHING)
