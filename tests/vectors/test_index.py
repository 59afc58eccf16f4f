"""An index over vectors: nearly all that an exact search finds, the same similarities, and the same from its file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mmcli.errors import MissingPackageError
from mmcli.vectors.index import Index
from mmcli.vectors.nearest import Nearest
from tests.vectors.test_nearest import drawn


def test_it_finds_nearly_all_and_measures_that(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    vectors = drawn(0, 2000, 16).half()
    kept, made = Nearest(vectors), Index.of(vectors)
    assert made.recall(kept, vectors) > 0.95
    made.save(tmp_path / "index.usearch")
    again = Index.load(tmp_path / "index.usearch", vectors)
    queries = drawn(1, 20, 16)
    exact, found = kept.search(queries, 5), again.search(kept, queries, 5)
    assert (exact.rows[:, 0] == found.rows[:, 0]).mean() > 0.9
    for query in range(20):
        both = np.isin(found.rows[query], exact.rows[query])
        place = dict(zip(exact.rows[query], exact.similarities[query], strict=True))
        assert [place[row] for row in found.rows[query][both]] == found.similarities[query][both].tolist()
    assert (np.diff(found.similarities, axis=1) <= 0).all()
    assert again.search(kept, queries, 3000).rows.shape == (20, 2000)
    assert again.search(kept, queries[:1], 2).rows.shape == (1, 2)


def test_recall_is_the_share_that_is_found() -> None:
    """An index that finds the row itself and then only every second of the ten."""
    vectors = drawn(2, 100, 8)
    kept = Nearest(vectors)

    class Poor(Index):
        def __init__(self) -> None:
            pass

        def search(self, kept: Nearest, queries_QD: object, k: int) -> object:
            found = kept.search(queries_QD, 2 * k)  # type: ignore[arg-type]
            return type(found)(found.rows[:, ::2], found.similarities[:, ::2])

    assert Poor().recall(kept, vectors) == pytest.approx(0.5)


def test_an_index_of_other_vectors_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    Index.of(drawn(3, 50, 8)).save(tmp_path / "index.usearch")
    with pytest.raises(ValueError, match="an index of 50 vectors"):
        Index.load(tmp_path / "index.usearch", drawn(3, 49, 8))


def test_without_the_package_it_is_said_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingPackageError, match="needs the package usearch") as error:
        Index.of(drawn(4, 5))
    assert ".[index]" in error.value.remedy
